"""Test sets beyond the benchmark, on tiny folders in the layouts in which they are published."""

import re
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from clip_robustness import suites
from clip_robustness.conditions import two_way
from clip_robustness.conditions.condition import attack, averaged_by, natural, reference
from clip_robustness.conditions.ids import condition_of
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import Sample
from clip_robustness.datasets.load import load
from clip_robustness.errors import InputError
from clip_robustness.metrics.intervals import paired_difference, unpaired_difference
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.verdicts.limits import gap

MINI, IMAGENET = class_list("mini"), class_list("imagenet")


@pytest.fixture
def write(tmp_path):
    """Grey pictures under these names in a folder, which it gives."""

    def write(*files):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / file)
        return str(tmp_path)

    return write


def animals(write, *others):
    name = MINI.names[7]
    return write(f"LAION-final/7 {name}/common-grass/a.jpg", f"LAION-final/7 {name}/counter-snow/b.jpg", *others)


@pytest.mark.parametrize(("part", "file"), [("easy", "common-grass/a.jpg"), ("hard", "counter-snow/b.jpg")])
def test_counteranimal_has_two_groups(write, part, file):
    (sample,) = load("counteranimal", animals(write), MINI, part).samples
    assert sample.id == f"7 {MINI.names[7]}/{file}"
    assert sample.label == 7
    assert sample.path.is_file()


def test_a_class_of_counteranimal_without_its_pair(write):
    folder = animals(write, "LAION-final/8 car/common-road/c.jpg")
    assert len(load("counteranimal", folder, MINI, "easy")) == 2
    with pytest.raises(InputError, match="8 car should be called <number> <name> and hold a folder common-"):
        load("counteranimal", folder, MINI, "hard")


def test_what_counteranimal_calls_its_numbers_is_checked(write):
    folder = write(f"3 {MINI.names[7]}/common-grass/a.jpg", f"3 {MINI.names[7]}/counter-snow/b.jpg")
    with pytest.raises(InputError, match="is another class than number 3"):
        load("counteranimal", folder, MINI, "easy")


def test_less_than_was_published_is_said(write):
    warnings = load(
        "counteranimal", write("7 cock/common-a/1.jpg", "7 cock/counter-b/1.jpg"), IMAGENET, "hard"
    ).warnings
    assert "data set 'counteranimal', hard: 1 images, 5926 were published" in warnings
    assert "data set 'counteranimal', hard: images of 1 of 45 classes" in warnings


def test_any_class_of_an_object_of_imagenet_d_is_right(write):
    images = load("imagenet-d", write("texture/chair/1.png", "texture/mug/1.png"), IMAGENET, "texture")
    assert [sample.accepted for sample in images.samples] == [(423, 559, 765), (504,)]


def pug(place, table=None, classes=None):
    folder = Path(place)
    head = "filename,world_name,character_label,character_texture,scene_light\n"
    rows = "Wolf/0.png,Egypt,Wolf,Default,1\nGone/1.png,City,Wolf,Sky,1\nJean/2.png,City,Jean,Sky,7\n"
    (folder / "labels_pug_imagenet.csv").write_text(head + (table or rows))
    (folder / "class_to_imagenet_idx.json").write_text(classes or '{"Wolf": [269, 270, 271, 272], "Jean": [608]}')
    return str(folder)


def test_pug_has_several_right_classes_an_object_and_its_factors_are_groups(write):
    folder = pug(write("Wolf/0.png", "Jean/2.png"))
    rule = f"file:{folder}/labels_pug_imagenet.csv?columns=world_name,scene_light"
    images = load("pug-imagenet", str(folder), IMAGENET, groups=rule)
    assert [(sample.id, sample.accepted) for sample in images.samples] == [
        ("Jean/2.png", (608,)), ("Wolf/0.png", (269, 270, 271, 272))
    ]  # fmt: skip
    assert images.samples[0].groups == ("world_name City", "scene_light 7")
    assert "data set 'pug-imagenet': 2 images, 88328 were published" in images.warnings


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"table": "Wolf/0.png,Egypt,Wlof,Default,1\n"},
            "'Wlof' is no label of class_to_imagenet_idx.json; did you",
        ),
        ({"table": "Wolf/9.png,Egypt,Wolf,Default,1\n"}, "has none of the 1 images of labels_pug_imagenet.csv"),
        ({"table": ",Egypt,Wolf,Default,1\n"}, "a filename and a character_label are expected in each line"),
        ({"classes": '["Wolf"]'}, "label -> places in ImageNet's list are expected"),
    ],
)
def test_a_copy_of_pug_that_does_not_fit(write, given, says):
    with pytest.raises(InputError, match=says):
        load("pug-imagenet", pug(write("Wolf/0.png"), **given), IMAGENET)


def test_a_copy_of_pug_without_its_tables(write):
    with pytest.raises(InputError, match=r"has no labels_pug_imagenet.csv; put the one of the archive there"):
        load("pug-imagenet", str(write("Wolf/0.png")), IMAGENET)


def test_a_folder_that_is_no_object_of_imagenet_d(write):
    with pytest.raises(InputError, match="material/chairs is none of its 113 objects; did you mean 'chair'"):
        load("imagenet-d", write("material/chairs/1.png"), IMAGENET, "material")


def test_the_hard_images_are_compared_with_the_easy_ones():
    assert reference(natural("counteranimal-hard")) == natural("counteranimal-easy")
    assert condition_of("counteranimal-hard").data == "counteranimal"


def test_the_word_on_an_image_of_rta_100_is_its_rival(write):
    images = load("rta-100", write("data/label=dog_text=cat.png", "data/label=dog_text=bus.png"), MINI)
    assert images.classes.names == ("bus", "cat", "dog")
    assert [(sample.label, sample.rival, sample.clusters) for sample in images.samples] == [
        (2, 0, ("dog",)),
        (2, 1, ("dog",)),
    ]


def test_a_file_of_rta_100_that_is_called_otherwise(write):
    with pytest.raises(InputError, match=r"dog-cat\.png should be called label=<object>_text=<word>"):
        load("rta-100", write("label=dog_text=cat.png", "dog-cat.png"), MINI)


@pytest.fixture
def scam(tmp_path):
    """Two objects of the published table, as it is on the hub: one Parquet file."""
    rows = [
        {"image": Image.new("RGB", (8, 8), (shade, 0, 0)), "type": kind, "object_label": thing, "attack_word": word}
        | {"postit_area_pct": 1.0, "id": f"{kind}_img_{number:04d}"}
        for shade, kind in enumerate(("SCAM", "NoSCAM", "SynthSCAM"))
        for number, (thing, word) in enumerate([("chair", "car"), ("ball", "chair")])
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "table" / "train-00000.parquet")
    return str(tmp_path / "table")


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_scam_is_read_by_type(scam, prefix):
    source = f"hf:{scam}?split=train" if prefix else scam
    without, written = (load("scam", source, MINI, part) for part in ("NoSCAM", "SCAM"))
    assert written.classes.names == without.classes.names == ("ball", "car", "chair")
    assert [(s.id, s.label, s.rival, s.clusters) for s in written.samples] == [
        ("SCAM_img_0000", 2, 1, ("chair",)),
        ("SCAM_img_0001", 0, 2, ("ball",)),
    ]
    assert written.samples[0].image().getpixel((0, 0)) == (0, 0, 0)
    assert without.samples[0].image().getpixel((0, 0)) == (1, 0, 0)


def test_the_photos_of_scam_are_compared_in_pairs():
    """Two photos are wrong with the word alone, three are right in both and three in neither."""
    without = outcomes([f"NoSCAM_img_{i}" for i in range(8)], [1, 1, 1, 1, 1, 0, 0, 0])
    written = outcomes([f"SCAM_img_{i}" for i in range(8)], [0, 0, 1, 1, 1, 0, 0, 0])
    assert reference(attack("scam")) == natural("scam-none")
    found = gap(attack("scam"), written, without)
    assert found == paired_difference(written.correct, without.correct)
    assert found != unpaired_difference(written.correct, without.correct)


def test_between_two_classes():
    """The label wins against the word in the first image alone, and against all in none; the word wins in the third."""
    logits = torch.tensor([[2.0, 1.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    victim = SimpleNamespace(logits=lambda images: logits, name="m")
    context = SimpleNamespace(
        victim=victim, images=lambda batch: None, labels=lambda samples: torch.tensor([s.label for s in samples])
    )
    batch = [(Sample(str(i), Path(), 0, rival=1), None) for i in range(3)]
    ((*answers,),) = two_way.run(context, [batch])
    assert [answer.prediction for _, answer in answers] == [0, 1, 1]
    assert [answer.measures for _, answer in answers] == [
        {"among_all": 0, "word": 0},
        {"among_all": 0, "word": 0},
        {"among_all": 0, "word": 1},
    ]


def test_corruption_sets_have_cells_and_a_mean_of_their_own(toml):
    suite = toml(
        'classes = "mini"\ncandidate = ["mini:clip"]\n[data]\nimagenet = "mini:imagenet"\nimagenet-c-bar = "x"\n'
        '[conditions]\ncorruption-sets = { names = "imagenet-c-bar" }\n'
    )
    *cells, mean = suites.load(suite).conditions[1:]
    assert (len(cells), mean.path) == (50, "synthetic/imagenet-c-bar-mean")
    assert cells[0].part == "blue_noise_sample/1"
    assert averaged_by(mean, cells) == cells
    assert not mean.kind.is_mce
    assert [condition_of(cell.id) for cell in (*cells, mean)] == [*cells, mean]


def test_files_of_corruption_sets_are_seen_whole(write):
    images = load("imagenet-3dcc", write(f"fog_3d/3/{MINI.keys[0]}/a.jpg"), MINI, "fog_3d/3")
    assert [sample.cropped for sample in images.samples] == [True]


def outcomes(ids, correct):
    labels = np.zeros(len(ids), int)
    return Outcomes(tuple(ids), labels, np.where(correct, 0, 1), np.array(correct, bool))


def test_the_gap_is_of_different_images():
    easy, hard = outcomes("abcd", [1, 1, 1, 0]), outcomes("efgh", [1, 0, 0, 0])
    found = gap(natural("counteranimal-hard"), hard, easy)
    assert found.value == -0.5
    assert -1 <= found.low < found.value < found.high


@pytest.mark.parametrize(
    ("names", "data", "said"),
    [
        ("counteranimal-hard", "counteranimal", None),
        ("counteranimal-heard", "counteranimal", "no data set 'counteranimal-heard' under .*'counteranimal-hard'"),
        ("counteranimal", "counteranimal", "'counteranimal' is no natural shift"),
    ],
)
def test_suites_name_the_parts_of_a_set(toml, names, data, said):
    suite = toml(
        f'classes = "mini"\ncandidate = ["mini:clip"]\n[data]\nimagenet = "mini:imagenet"\n{data} = "x"\n'
        f'[conditions]\nnatural = ["{names}"]\n'
    )
    if said is None:
        paths = [condition.path for condition in suites.load(suite).conditions]
        assert paths == ["clean/clean", "natural/counteranimal-easy", "natural/counteranimal-hard"]
        return
    with pytest.raises(InputError, match=said):
        suites.load(suite)


def test_images_of_no_class_are_in_groups(write):
    images = load("ood", write("Places/a/1.jpg", "2.jpg"), MINI)
    assert [(sample.id, sample.groups) for sample in images.samples] == [("2.jpg", ()), ("Places/a/1.jpg", ("Places",))]
    assert images.warnings == ()
    assert not natural("ood").kind.tells_of_labels


PLUGIN = """
from pathlib import Path

from clip_robustness import shift
from clip_robustness.datasets.dataset import read_folder


@shift(
    "weather",
    source="Doe et al. 2025",
    conditions={"weather-dry": "dry", "weather-rain": "rain"},
    compared_with={"weather-rain": "weather-dry"},
)
def weather(data, place, space, classes, part):
    return read_folder(data, Path(place) / part, classes, space)
"""


@pytest.mark.usefixtures("nothing_registered")
def test_a_set_of_ones_own_is_one_registration(write, tmp_path, toml):
    folder = write(*(f"weather/{part}/{MINI.keys[0]}/{part}.png" for part in ("dry", "rain")))
    (tmp_path / "weather.py").write_text(PLUGIN)
    suite = toml(
        'classes = "mini"\ncandidate = ["mini:clip"]\nplugins = ["weather.py"]\n'
        '[data]\nimagenet = "mini:imagenet"\nweather = "weather"\n[conditions]\nnatural = ["weather-rain"]\n'
    )
    _, dry, rain = suites.load(suite).conditions
    assert (dry.path, rain.path, reference(rain)) == ("natural/weather-dry", "natural/weather-rain", dry)
    images = load("weather", f"{folder}/weather", MINI, rain.part)
    assert [sample.id for sample in images.samples] == [f"{MINI.keys[0]}/rain.png"]
    assert images.reader


@pytest.mark.usefixtures("nothing_registered")
@pytest.mark.parametrize(
    ("was", "written", "says"),
    [
        ('": "weather-dry"}', '": "weather-dri"}', "compared_with: 'weather-dri' is no natural shift; did you mean"),
        ('{"weather-rain": "w', '{"weather-rian": "w', "compared_with of 'weather-rian': no such condition; did you"),
    ],
)
def test_a_reference_that_is_none_is_told_when_the_suite_is_read(tmp_path, toml, was, written, says):
    assert was in PLUGIN
    (tmp_path / "weather.py").write_text(PLUGIN.replace(was, written))
    suite = toml(
        'classes = "mini"\nplugins = ["weather.py"]\n[data]\nimagenet = "mini:imagenet"\nweather = "weather"\n'
        '[conditions]\nnatural = ["weather-rain"]\n'
    )
    with pytest.raises(InputError, match=re.escape(says)):
        suites.load(suite)
