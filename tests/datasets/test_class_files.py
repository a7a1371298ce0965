"""Class lists and lists of names, in the forms that people have them in: read right, or refused in one sentence."""

import json
import random
import warnings

import pytest

from clip_robustness import models
from clip_robustness.datasets.class_files import read_rows
from clip_robustness.datasets.classes import ClassList, class_list, namesakes, renamed
from clip_robustness.errors import ModelWarning
from clip_robustness.models import InputError

MINI, IMAGENET = class_list("mini"), class_list("imagenet")
KEYS = ("n01440764", "n02119789", "n01443537")
NAMES = ("tench, Tinca tinca", "kit fox, Vulpes macrotis", "potter's wheel")
OWN = ClassList("own", ("k0", "k1", "k2"), ("zebra", "dog", "cat"))


def write(tmp_path, text, name="list.txt"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def lines(form, keys=KEYS, names=NAMES):
    return "".join(form.format(i=i, j=i + 1, key=k, name=n) for i, (k, n) in enumerate(zip(keys, names, strict=True)))


KEYED = {
    "tabs.txt": lines("{key}\t{name}\n"),
    "spaces.txt": lines("{key} {name}\n"),  # Kaggle's LOC_synset_mapping.txt
    "windows.txt": b"\xef\xbb\xbf" + lines("{key}\t{name}\r\n").encode(),
    "quotes.txt": lines('"{key}"\t"{name}"\n'),
    "commented.txt": "# a comment\n\n#\n" + lines("{key} {name}\n\n"),
    "devkit.txt": lines("{key} {j} {name}\n"),  # map_clsloc.txt
    "table.csv": "wnid,name\n" + lines('{key},"{name}"\n'),
    "lines.tsv": lines("{key}\t{name}\n"),
    "table.tsv": "\ufeffName\tWNID\r\n" + lines("{name}\t{key}\r\n"),
    "semicolons.txt": "key;name\n" + lines("{key};{name}\n"),
    "index.csv": "name,index,key\n" + "".join(reversed(lines('"{name}",{i},{key}\n').splitlines(keepends=True))),
    "mapping.json": json.dumps(dict(zip(KEYS, NAMES, strict=True))),
    "class_index.json": json.dumps({str(i): list(pair) for i, pair in enumerate(zip(KEYS, NAMES, strict=True))}),
    "pairs.json": json.dumps(list(zip(KEYS, NAMES, strict=True))),
    "records.json": json.dumps([{"wnid": k, "name": n} for k, n in zip(KEYS, NAMES, strict=True)]),
    "literal.txt": str(dict(zip(KEYS, NAMES, strict=True))),
    "mapping.yaml": lines('{key}: "{name}"\n'),
    "three.txt": "".join(reversed(lines("{i}\t{key}\t{name}\n").splitlines(keepends=True))),
    "behind.txt": "".join(reversed(lines("{key}\t{name}\t{i}\n").splitlines(keepends=True))),
}
NUMBERED = {
    "literal.txt": "{" + ",\n ".join(f"{i}: {name!r}" for i, name in enumerate(NAMES)) + ",}\n",  # a well-known gist
    "sorted.json": json.dumps({str(i): name for i, name in reversed(list(enumerate(NAMES)))}),
    "lines.txt": lines("{i}: {name}\n"),
    "spaces.txt": lines("{i} {name}\n"),
    "dots.txt": lines("{i}. {name}\n"),
    "tabs.txt": "".join(reversed(lines("{i}\t{name}\n").splitlines(keepends=True))),
    "yolo.yaml": "path: data\nnames:\n" + lines('  {i}: "{name}"\n'),
    "config.json": json.dumps({"id2label": {str(i): n for i, n in enumerate(NAMES)}, "label2id": {"tench": 0}}),
}
ALONE = {
    "lines.txt": lines("{name}\n"),
    "quotes.txt": lines('"{name}",\n'),
    "list.json": json.dumps(NAMES),
    "literal.txt": repr(list(NAMES)),
    "numbers.json": json.dumps({name: i for i, name in reversed(list(enumerate(NAMES)))}),
    "table.csv": "name\n" + lines('"{name}"\n'),
    "list.yml": lines('- "{name}"\n'),
    "bullets.txt": lines("- {name}\n"),
    "commas.txt": lines("{name},\n"),
    "invisible.txt": lines("\u200b{name}\u200b\n"),
    "behind.txt": "".join(reversed(lines("{name} {i}\n").splitlines(keepends=True))),
    "tab behind.txt": "".join(reversed(lines("{name}\t{i}\n").splitlines(keepends=True))),
    "numbers as texts.json": json.dumps({name: str(i) for i, name in reversed(list(enumerate(NAMES)))}),
    "label2id.json": json.dumps({"label2id": {name: i for i, name in enumerate(NAMES)}}),
    "classes.json": json.dumps({"classes": NAMES}),
    "class id.csv": "class_id,class_name\n" + lines('{i},"{name}"\n'),
    "records.json": json.dumps([{"id": i, "name": name} for i, name in reversed(list(enumerate(NAMES)))]),
    "records.jsonl": "".join(json.dumps({"id": i, "name": name}) + "\n" for i, name in enumerate(NAMES)),
    "commented.py": "# mine\n\nCLASSES = [\n" + lines('    "{name}",\n') + "]\n",
    "classes.py": "CLASSES: list[str] = [\n" + lines('    "{name}",\n') + "]\n",
}


@pytest.mark.parametrize("name", KEYED)
def test_keys_and_names(tmp_path, name):
    file = write(tmp_path, KEYED[name], name)
    assert read_rows(file) == list(zip(KEYS, NAMES, strict=True))
    found = class_list(str(file))
    assert (found.keys, found.names) == (KEYS, NAMES)
    assert renamed(ClassList("other order", KEYS[::-1], KEYS), file).names == NAMES[::-1]


@pytest.mark.parametrize("name", NUMBERED)
def test_numbers_and_names(tmp_path, name):
    """In a list of names they are places, in a list of classes the keys, too."""
    file = write(tmp_path, NUMBERED[name], name)
    assert renamed(OWN, file).names == NAMES
    found = class_list(str(file))
    assert (found.keys, found.names) == (("0", "1", "2"), NAMES)


@pytest.mark.parametrize("name", ALONE)
def test_names_alone(tmp_path, name):
    file = write(tmp_path, ALONE[name], name)
    assert renamed(OWN, file).names == NAMES
    found = class_list(str(file))
    assert found.keys == found.names == NAMES


def test_underscores_stand_for_spaces(tmp_path):
    """In what prompts say; folders are called by the keys as they are."""
    cub = write(tmp_path, "001.Black_footed_Albatross\n002.Laysan_Albatross\n", "cub.txt")
    found = class_list(str(cub))
    assert found.keys == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert found.names == renamed(found, cub).names == ("Black footed Albatross", "Laysan Albatross")
    found = class_list(str(write(tmp_path, "kit_fox\nfire_salamander\n", "folders.txt")))
    assert (found.keys, found.names) == (("kit_fox", "fire_salamander"), ("kit fox", "fire salamander"))
    assert renamed(OWN, write(tmp_path, "kit_fox\nbig_dog\ncat\n")).names == ("kit fox", "big dog", "cat")
    devkit = write(tmp_path, "n02119789 1 kit_fox\nn01440764 2 tench\n")
    twice = write(tmp_path, "n02012849 1 crane\nn03126707 2 crane\n", "cranes.txt")
    assert class_list(str(twice)).names == ("crane", "crane")
    keras = write(tmp_path, '{"0": ["n02119789", "kit_fox"], "1": ["n01440764", "tench"]}', "keras.json")
    assert class_list(str(devkit)).names == class_list(str(keras)).names == ("kit fox", "tench")


def test_keys_of_the_user_s_own_begin_lines_of_names(tmp_path):
    """Whatever they are made of; more classes than the suite's do no harm."""
    classes = ClassList("own", ("k0", "great white", "7"), ("zebra", "shark", "seven"))
    file = write(tmp_path, "7 up\ngreat white: the shark\nk0\t#zebra\nn01440764 tench\n")
    assert renamed(classes, file).names == ("#zebra", "the shark", "up")


def test_a_number_of_a_name_stays(tmp_path):
    file = write(tmp_path, "k0 7 up\nk1 8 ball\nk2 9 pin\n")
    assert renamed(OWN, file).names == ("7 up", "8 ball", "9 pin")
    assert renamed(OWN, write(tmp_path, "stage 0\nstage 1\nstage 2\n")).names == ("stage 0", "stage 1", "stage 2")


def test_the_numbers_of_keys_are_their_places(tmp_path):
    """As `class_to_idx` is written; also from 1, as the devkit counts."""
    for numbers in ((2, 0, 1), (3, 1, 2)):
        file = write(tmp_path, "".join(f"{key} {n}\n" for key, n in zip(KEYS, numbers, strict=True)))
        assert class_list(str(file)).keys == (KEYS[1], KEYS[2], KEYS[0])
        class_list.cache_clear()


def test_keys_without_names(tmp_path):
    found = class_list(str(write(tmp_path, "n02119789\nn01440764\ta tench\nk9\n")))
    assert (found.keys, found.names) == (("n02119789", "n01440764", "k9"), ("kit fox", "a tench", "k9"))


def test_a_file_is_never_taken_for_a_list_that_is_known(tmp_path):
    """`imagenet.txt` with some of its classes has not the facts of all of them."""
    assert class_list(str(write(tmp_path, lines("{key}\n"), "imagenet.txt"))).name == "imagenet.txt"


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("one\n", "list.txt", "two or more classes"),
        ("one\ntwo\none\n", "list.txt", "'one' stands in it more than once; give each class a key"),
        ("one\n#two\n", "list.txt", "the line '#two' has a comment, which must begin a line, as '# '"),
        ("one # the first\ntwo\n", "list.txt", "the line 'one # the first' has a comment"),
        ("// mine\none\ntwo\n", "list.txt", "the line '// mine' has a comment"),
        ("a\tb\tc\nd\te\tf\n", "list.txt", "a line has more than one tab"),
        ("one 1\ntwo 2\n", "list.txt", "its numbers go from 1 to 2"),
        ("0 one\n1 two\n10 ten\n", "list.txt", "its numbers go from 0 to 10; those of 3 classes go from 0 to 2"),
        ("1. one\n2. two\n", "list.txt", "its numbers go from 1 to 2"),
        ("a: [b\n", "list.yaml", "not YAML"),
        ("names: [yes, no]\n", "list.yaml", "not of a form that is read"),
        ("n01440764 tench\ngoldfish\n", "list.txt", "'n01440764' is a key with a name after it, 'goldfish' is not"),
        ("1 tench\n2 goldfish\n", "list.txt", "its numbers go from 1 to 2; those of 2 classes go from 0 to 1"),
        ('{"tench": 1, "goldfish": 2}', "list.json", "its numbers go from 1 to 2"),
        ('{"tench": 0, "goldfish": 0}', "list.json", "its numbers go from 0 to 0"),
        ('{"1": ["n01440764", "tench"], "2": ["n01443537", "goldfish"]}', "list.json", "its numbers go from 1 to 2"),
        ('{"a": "tench", "a": "goldfish"}', "list.json", "'a' stands in it twice"),
        ('{"a": ["tench", "fish"]}', "list.json", "not of a form that is read"),
        ('{"a": 1.5}', "list.json", "not of a form that is read"),
        ('"tench"', "list.json", "not of a form that is read"),
        ("{0: tench}", "list.txt", "neither JSON nor a Python literal"),
        ("{" * 9999, "list.json", "neither JSON nor a Python literal"),
        ("[__import__('os').getcwd()]", "list.txt", "neither JSON nor a Python literal"),
        ("id,title\n1,tench\n", "list.csv", "its first line is 'id,title'; the names of the columns are expected"),
        ("key,name\nn01440764,tench, Tinca tinca\n", "list.csv", "row 1 has other columns than the header"),
        ("key,index\na,one\nb,two\n", "list.csv", "its index column has something else than numbers"),
        (b"\xff\xfet\x00e\x00n\x00", "list.txt", "not a text file in UTF-8"),
    ],
)
def test_files_that_are_no_class_lists_are_named(tmp_path, text, name, says):
    file = write(tmp_path, text, name)
    with pytest.raises(InputError) as error:
        class_list(str(file))
    assert str(file) in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("one\ntwo\n", "2 names without keys, where 'own' has 3 classes"),
        ("ant\nbee\n\n# four\nfly\nfox\n", "4 names without keys, where 'own' has 3 classes"),
        ("k0\tzebra\nk1\tdog\n", "1 of 3 classes have no name, k2 among them"),
        ("k0\tzebra\nk1\tdog\nk2\n", "1 of 3 classes have no name, k2 among them"),
        ("k0\nk1\nk2\n", "'k0' is a key, and no name that a prompt could say"),
        ("cat\ndog\nzebra\n", "the names stand in another order than the classes of 'own', which begin with 'zebra'"),
        ("k0 zebra\nk0 dog\nk2 cat\n", "'k0' stands in it more than once"),
    ],
)
def test_names_that_do_not_fit_are_named(tmp_path, text, says):
    with pytest.raises(InputError) as error:
        renamed(OWN, write(tmp_path, text))
    assert says in str(error.value)


def test_the_published_orders_of_imagenet_are_told_apart(tmp_path):
    """Names in the order of timm's and torchvision's logits are these; the devkit's order is another."""
    assert renamed(IMAGENET, write(tmp_path, "\n".join(IMAGENET.names))).names == IMAGENET.names
    shuffled = list(IMAGENET.names)
    random.Random(0).shuffle(shuffled)
    with pytest.raises(InputError, match="in another order"):
        renamed(IMAGENET, write(tmp_path, "\n".join(shuffled)))


def test_two_classes_of_one_name_are_warned_of(tmp_path):
    """But for the two pairs that open_clip's names of ImageNet have."""
    assert namesakes(IMAGENET) == []
    names = ["Apple" if name in ("banana", "apple") else name for name in MINI.names]
    file = write(tmp_path, json.dumps(names), "names.json")
    assert namesakes(renamed(MINI, file)) == [("m00000002", "m00000003")]
    with pytest.warns(ModelWarning, match="the classes m00000002 and m00000003 are both called 'Apple'"):
        models.load(f"mini:clip?class_names={file}&prompts=plain", MINI)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        models.load("mini:clip?prompts=plain", MINI)
