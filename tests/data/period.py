r"""The `imagecorruptions` package, made to run: in an environment of its time, with one option renamed.

    python3.11 -m venv period
    period/bin/pip install 'numpy<2' 'setuptools<80' 'scipy<1.13' 'opencv-python-headless<4.12' \
        scikit-image==0.20.0 pillow==13.0.0
    period/bin/pip install --no-deps imagecorruptions==1.1.2 imagenet-c==0.0.3
"""

import warnings

import skimage.filters

warnings.simplefilter("ignore")
_gaussian = skimage.filters.gaussian


def gaussian(*args, multichannel=False, **options):
    return _gaussian(*args, **options, channel_axis=-1 if multichannel else None)


skimage.filters.gaussian = gaussian

import imagecorruptions as imagecorruptions  # noqa: E402
