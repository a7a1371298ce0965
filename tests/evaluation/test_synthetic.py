"""The synthetic shifts in a run: what is read, what is made on the fly, what is counted."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Compose, Lambda, Resize

from clip_robustness.conditions.condition import CLEAN, corruption, perturbation, stylized
from clip_robustness.conditions.corruptions.corrupt import corrupt
from clip_robustness.conditions.corruptions.frost import read_textures
from clip_robustness.conditions.kept import Kept, geometry_key
from clip_robustness.datasets import load
from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.dataset import Dataset, Sample, image_rng, subsample
from clip_robustness.datasets.mp4 import write_video
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.pixels import PixelSource
from clip_robustness.evaluation.store import Store
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError
from clip_robustness.models.classifier import Classifier
from clip_robustness.models.loading import ToRGB
from clip_robustness.verdicts.figures import shape_bias
from clip_robustness.verdicts.measures import figures

MINI = class_list("mini")
CPU = torch.device("cpu")
SMALL = ClassList("small", ("dark", "middling", "bright"), ("dark", "middling", "bright"))


def crop(image):
    """As models do that resize to more than they see: the middle of the image, at a quarter of the size."""
    edge = image.width // 8
    return image.convert("RGB").crop((edge, edge, image.width - edge, image.height - edge)).resize((32, 32))


def brightness(seen=None):
    """A classifier by mean brightness: under 1/3 dark, above 2/3 bright. `seen` collects what it is shown."""

    class Net(torch.nn.Module):
        def forward(self, images):
            if seen is not None:
                seen.append(images)
            return -(images.mean((1, 2, 3))[:, None] - torch.tensor([1 / 6, 3 / 6, 5 / 6])).abs()

    return Classifier(
        Net(), name="brightness", classes=SMALL, image_size=32, geometry=crop,
        mean=(0, 0, 0), std=(1, 1, 1), fingerprint="brightness",
    )  # fmt: skip


@pytest.fixture
def evaluate(tmp_path):
    return Evaluator(Store(tmp_path / "store"), device=CPU, batch_size=64)


def sequence_set(tmp_path, *levels):
    """One mp4 of flat grey frames for each list of grey levels; all are labelled dark."""
    samples = []
    for i, greys in enumerate(levels):
        frames = np.stack([np.full((32, 32, 3), grey, np.uint8) for grey in greys])
        write_video(tmp_path / f"{i}.mp4", frames)
        samples.append(Sample(f"{i}.mp4", tmp_path / f"{i}.mp4", 0))
    return Dataset("imagenet-p", tuple(samples))


def test_flips_by_hand(evaluate, tmp_path):
    """dark dark bright dark: two of three neighbours differ, one of two that are two apart, one of three with the
    first. dark all along: none."""
    images = sequence_set(tmp_path, [20, 20, 230, 20], [20, 20, 20, 20])
    outcomes = evaluate(brightness(), perturbation("rotate", on_disk=True), images)
    assert outcomes.measures["flips-1"].tolist() == [pytest.approx(2 / 3), 0]
    assert outcomes.measures["flips-2"].tolist() == [1 / 2, 0]
    assert outcomes.correct.tolist() == [False, True]
    assert outcomes.predictions.tolist() == [2, 0]
    noise = evaluate(brightness(), perturbation("gaussian_noise", on_disk=True), images)
    assert noise.measures["flips-1"].tolist() == [pytest.approx(1 / 3), 0]
    of_both = figures(perturbation("rotate", 2, on_disk=True), outcomes)
    assert of_both["flip_probability"].value == 1 / 4


def test_frames_are_right_by_any_of_several_labels(evaluate, tmp_path):
    images = sequence_set(tmp_path, [20, 20, 230, 20], [20, 120, 20, 20])
    either = replace(images, samples=tuple(replace(sample, also=(2,)) for sample in images.samples))
    outcomes = evaluate(brightness(), perturbation("rotate", on_disk=True), either)
    assert outcomes.correct.tolist() == [True, False]
    assert outcomes.predictions.tolist() == [0, 1]
    pictures = evaluate.pictures(brightness(), perturbation("rotate", on_disk=True), either)
    assert [picture.prediction for picture in pictures] == [0, 1]  # of the first frame, and of the one that is wrong


def test_difficulties_of_an_ordered_sequence_are_computed_once(evaluate, tmp_path):
    images = sequence_set(tmp_path, [20, 20, 230, 20])
    evaluate(brightness(), perturbation("rotate", 1, on_disk=True), images)
    assert evaluate(brightness(), perturbation("rotate", 3, on_disk=True), images).seconds == 0
    assert evaluate(brightness(), perturbation("gaussian_noise", 1, on_disk=True), images).seconds > 0
    assert evaluate(brightness(), perturbation("gaussian_noise", 2, on_disk=True), images).seconds > 0


def test_a_broken_mp4_is_counted_and_named(evaluate, tmp_path):
    images = sequence_set(tmp_path, [20] * 4, [20] * 4)
    (tmp_path / "1.mp4").write_bytes(b"cut off")
    outcomes = evaluate(brightness(), perturbation("rotate", on_disk=True), images)
    assert (outcomes.ids, outcomes.unreadable) == (("0.mp4",), ("1.mp4",))


@pytest.mark.parametrize("name", ["imagenet-c", "stylized-imagenet", "cue-conflict"])
def test_published_crops_are_not_cropped_again(name, evaluate, tmp_path):
    """A bright frame around a dark picture: whoever sees the whole file finds it bright."""
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[8:-8, 8:-8] = 0
    place = tmp_path / "set" / {"imagenet-c": "fog/3"}.get(name, "")
    keys = load.space_of(name, "", MINI).keys
    (place / keys[0]).mkdir(parents=True)
    Image.fromarray(pixels).save(place / keys[0] / f"{keys[0]}1-{keys[1]}1.png")
    images = load.load(name, str(tmp_path / "set"), MINI, "fog/3" if name == "imagenet-c" else "")
    plain = replace(images, space=None)
    uncropped = replace(plain, samples=tuple(replace(i, cropped=False) for i in images.samples))
    published = stylized(name) if name != "imagenet-c" else corruption("fog", 3, on_disk=True)
    means = []
    for condition, shown in ((published, plain), (CLEAN, uncropped)):
        evaluate(brightness(seen := []), condition, shown)
        means.append(seen[-1].mean())  # the first pass looks for the memory that it takes
    whole, middle = means
    assert whole == pytest.approx(1 - 0.75**2, abs=0.02)
    assert middle == pytest.approx(0, abs=0.02)


def test_the_sample_is_the_same_at_every_severity_and_of_the_clean_set():
    chosen = {
        severity: subsample(load.load("imagenet-c", str(mini_folder("imagenet-c")), MINI, f"fog/{severity}"), 48, 0)
        for severity in (1, 5)
    }
    assert [i.id for i in chosen[1].samples] == [i.id for i in chosen[5].samples]
    assert {i.path.parent.parent.name for i in chosen[5].samples} == {"5"}


def test_a_missing_severity_is_named():
    with pytest.raises(InputError, match=r"there is no folder .*fog/2"):
        load.load("imagenet-c", str(mini_folder("imagenet-c")), MINI, "fog/2")


def test_the_drawn_sets_have_labels_rivals_and_frames():
    conflicts = load.load("cue-conflict", str(mini_folder("cue-conflict")), MINI)
    keys = conflicts.space.keys
    assert len(conflicts) == 120
    assert all(sample.id.startswith(f"{keys[sample.label]}/{keys[sample.label]}") for sample in conflicts.samples)
    assert all(f"-{keys[sample.rival]}" in sample.id and sample.rival != sample.label for sample in conflicts.samples)
    sequences = load.load("imagenet-p", str(mini_folder("imagenet-p")), MINI, "rotate")
    assert len(sequences) == 48


def test_a_cue_conflict_without_a_texture_is_named(image_folder):
    with pytest.raises(InputError, match=r"apple/0\.png should be called <shape><number>-<texture><number>"):
        load.load("cue-conflict", str(image_folder({"apple": 1}, "cues")), MINI)


def test_cue_conflicts_over_imagenet_score_by_the_mean_of_probabilities():
    """Two bears of nine are likelier than any bird, but the mean bird is likelier than the mean bear."""
    space = load.space_of("cue-conflict", "", class_list("imagenet"))
    bear, bird = space.keys.index("bear"), space.keys.index("bird")
    assert (len(space), len(space.members[bear]), len(space.members[bird])) == (16, 4, 49)
    logits = torch.full((1, 1000), -20.0)
    logits[:, list(space.members[bird])] = 0.0
    logits[:, space.members[bear][0]] = 1.0
    assert space.project(logits).argmax() == bird
    assert replace(space, pool="max").project(logits).argmax() == bear


def test_shape_bias_by_hand():
    """Right twice, the texture once, a third class once; the fifth has one class as shape and texture."""
    outcomes = Outcomes(
        ids=tuple("abcde"),
        labels=np.array([0, 1, 2, 3, 4]),
        predictions=np.array([0, 1, 0, 5, 4]),
        correct=np.array([True, True, False, False, True]),
        rivals=np.array([1, 2, 0, 0, 4]),
    )
    assert shape_bias(CLEAN, outcomes).value == 2 / 3
    assert shape_bias(CLEAN, replace(outcomes, rivals=np.full(5, -1))) is None
    assert (
        shape_bias(CLEAN, replace(outcomes, predictions=outcomes.predictions * 0 + 9, correct=np.zeros(5, bool)))
        is None
    )


def test_images_are_corrupted_once_for_all_models(monkeypatch, image_folder, tmp_path):
    from clip_robustness.conditions.corruptions import corrupt as module

    images = replace(load.load("imagenet", str(image_folder({MINI.keys[0]: 5})), MINI), space=None)
    made = []
    corrupted = module.corrupted
    monkeypatch.setattr(module, "corrupted", lambda *args: (made.append(1), corrupted(*args))[1])
    evaluate = Evaluator(Store(tmp_path / "store"), device=CPU)
    one, other = brightness(), brightness()
    other.fingerprint = "another"
    for condition in (corruption("gaussian_noise", 1), corruption("gaussian_noise", 2)):
        for classifier in (one, other):
            evaluate(classifier, condition, images)
    assert len(made) == 10


def test_threads_prepare_only_what_is_not_in_memory(monkeypatch, image_folder, tmp_path):
    images = replace(load.load("imagenet", str(image_folder({MINI.keys[0]: 5})), MINI), space=None)
    submitted, submit = [], ThreadPoolExecutor.submit
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *args: (submitted.append(args), submit(*args))[1])
    evaluate, other = Evaluator(Store(tmp_path / "store"), device=CPU, batch_size=3), brightness()
    evaluate(brightness(), corruption("fog", 1), images)
    assert submitted
    submitted.clear()
    other.fingerprint = "another"
    for condition in (corruption("fog", 1), CLEAN):
        assert len(evaluate(other, condition, images).ids) == 5
    assert not submitted


def test_no_more_pixels_are_kept_than_allowed(image_folder):
    images = load.load("imagenet", str(image_folder({MINI.keys[0]: 5})), MINI)
    kept = Kept(3 * 32 * 32 * 3)
    source = PixelSource(0, kept)
    for condition in (CLEAN, corruption("fog", 1), corruption("fog", 2)):
        of = source.of(condition, brightness())
        for sample in images.samples:
            of(sample)
            assert sum(array.nbytes for array in (*kept._clean.values(), *kept._made.values())) <= kept.limit_bytes


def test_clean_pixels_make_room_for_corrupted_ones(monkeypatch, image_folder):
    """With room for the images once they are corrupted once for three models, not three times."""
    from clip_robustness.conditions.corruptions import corrupt as module

    images = load.load("imagenet", str(image_folder({MINI.keys[0]: 6})), MINI)
    made = []
    corrupted = module.corrupted
    monkeypatch.setattr(module, "corrupted", lambda *args: (made.append(1), corrupted(*args))[1])
    source, models = PixelSource(0, Kept(6 * 32 * 32 * 3)), [brightness(), brightness(), brightness()]
    for condition in (CLEAN, corruption("fog", 1), corruption("fog", 2)):
        for classifier in models:
            of = source.of(condition, classifier)
            seen = [of(sample) for sample in images.samples]
            assert all(np.array_equal(of(sample), pixels) for sample, pixels in zip(images.samples, seen, strict=True))
    assert len(made) == 12


def test_geometries_are_the_same_where_all_that_they_do_shows():
    def upside_down(image):
        return image.rotate(180)

    def inverted(image):
        return ImageOps.invert(image)

    def geometry(*steps):
        return geometry_key(Compose([ToRGB(), Resize(40), *steps]))

    assert geometry(CenterCrop(32)) == geometry(CenterCrop(32))
    assert geometry(CenterCrop(32)) != geometry(CenterCrop(30))
    assert repr(Lambda(upside_down)) == repr(Lambda(inverted))
    assert geometry(Lambda(upside_down)) != geometry(Lambda(inverted))
    assert geometry(upside_down) == geometry(upside_down) != geometry(inverted)


def test_pixels_of_geometries_with_one_repr_are_kept_apart(image_folder):
    (sample,) = load.load("imagenet", str(image_folder({MINI.keys[0]: 1})), MINI).samples
    source, flips = PixelSource(0, Kept(1 << 20)), (Image.Transpose.ROTATE_180, Image.Transpose.FLIP_LEFT_RIGHT)
    models = [brightness(), brightness()]
    for classifier, flip in zip(models, flips, strict=True):
        classifier.geometry = Compose([crop, Lambda(lambda image, flip=flip: image.transpose(flip))])
    for condition in (CLEAN, corruption("fog", 1)):
        one, other = (source.of(condition, classifier)(sample) for classifier in models)
        assert not np.array_equal(one, other)


def test_frost_of_the_published_pictures_is_another_computation(tmp_path, image_folder):
    (tmp_path / "frost").mkdir()
    rng = np.random.default_rng(0)
    for i, ending in enumerate(("png", "png", "png", "jpg", "jpg", "jpg"), 1):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "frost" / f"frost{i}.{ending}")
    without, with_textures = (Evaluator(None, device=CPU, frost=frost) for frost in (None, str(tmp_path / "frost")))
    condition = corruption("frost", 3)
    assert without.made_with(condition) != with_textures.made_with(condition)
    assert without.made_with(corruption("fog", 3)) == with_textures.made_with(corruption("fog", 3))
    textures = read_textures(tmp_path / "frost")
    drawn, published = PixelSource(0, Kept(0)), PixelSource(0, Kept(0), textures)
    (sample,) = load.load("imagenet", str(image_folder({MINI.keys[0]: 1})), MINI).samples
    clean = drawn.of(CLEAN, brightness())(sample)
    expected = corrupt(clean, "frost", 3, image_rng(0, "imagenet-c frost", sample.id), textures)
    assert np.array_equal(published.of(condition, brightness())(sample), expected)
