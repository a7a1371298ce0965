from open_clip import IMAGENET_CLASSNAMES
from timm.data.imagenet_info import ImageNetInfo

from clip_robustness.datasets import imagenet


def test_classes_are_those_of_the_libraries():
    info = ImageNetInfo("imagenet-1k")
    assert list(imagenet.wnids()) == info.label_names()
    assert imagenet.words() == {key: info.label_name_to_description(key) for key in info.label_names()}
    assert imagenet.prompted() == tuple(IMAGENET_CLASSNAMES)
    assert len(imagenet.words()) == len(imagenet.prompted()) == 1000
