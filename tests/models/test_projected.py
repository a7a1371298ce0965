"""Class spaces: the published facts, and what projecting does to predictions, gradients and attacks."""

import pytest
import torch

from clip_robustness import models
from clip_robustness.conditions.attacks.gradient import BIM
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.label_space import ClassSpace, class_space, facts
from clip_robustness.models import InputError
from clip_robustness.models.classifier import predictions_of
from clip_robustness.models.projected import restrict_logits
from tests.attacking import attack

IMAGENET, MINI = class_list("imagenet"), class_list("mini")


@pytest.fixture(scope="module")
def classifier():
    return models.load("mini:supervised", MINI)


@pytest.fixture(scope="module")
def images():
    return torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("data", "classes", "members"),
    [
        ("imagenet", 1000, 1000),
        ("imagenet-v2", 1000, 1000),
        ("imagenet-sketch", 1000, 1000),
        ("imagenet-r", 200, 200),
        ("imagenet-a", 200, 200),
        ("objectnet", 113, 125),
        ("imagenet-vid-robust", 30, 288),
        ("ytbb-robust", 24, 231),
    ],
)
def test_the_published_spaces(data, classes, members):
    space = class_space(data, IMAGENET)
    assert (len(space), len(space.label_of)) == (classes, members)
    assert facts(data, IMAGENET)["source"]


def test_single_classes_of_the_published_spaces():
    """By hand: scorpion is ImageNet class 71 and in both subsets; vid class 7 and ytbb class 0 as published."""
    for data in ("imagenet-r", "imagenet-a"):
        space = class_space(data, IMAGENET)
        assert space.keys[space.label_of[71]] == IMAGENET.keys[71] == "n01770393"
    objectnet = class_space("objectnet", IMAGENET)
    named = {k: [IMAGENET.names[i] for i in m] for k, m in zip(objectnet.keys, objectnet.members, strict=True)}
    assert named["alarm_clock"] == ["analog clock", "digital clock"]
    assert class_space("imagenet-vid-robust", IMAGENET).members[0] == (404,)  # airliner
    ytbb = class_space("ytbb-robust", IMAGENET)
    assert ytbb.members[ytbb.keys.index("person")] == (981, 982, 983)
    assert [key for key, m in zip(ytbb.keys, ytbb.members, strict=True) if not m] == [
        "cow", "giraffe", "skateboard", "toilet", "none",
    ]  # fmt: skip


def test_projection_by_hand():
    space = ClassSpace("x", ("a", "b", "none"), ((3,), (0, 2), ()))
    logits = torch.tensor([[5.0, 9.0, -1.0, 4.0], [-3.0, 9.0, -2.0, -4.0]])
    projected = space.project(logits)
    assert projected[:, :2].tolist() == [[4.0, 5.0], [-4.0, -2.0]]
    assert projected.isfinite().all()
    assert projected.argmax(1).tolist() == [1, 1]  # class 1 of the model, the best of all, is not in the space


def test_the_model_s_own_list_projects_nothing(classifier):
    assert restrict_logits(classifier, None) is classifier
    assert restrict_logits(classifier, class_space("imagenet", MINI)) is classifier


def test_a_projected_classifier_is_the_model_with_other_classes(classifier, images):
    space = class_space("objectnet", MINI)
    projected = restrict_logits(classifier, space)
    assert torch.equal(projected.logits(images), space.project(classifier.logits(images)))
    assert (projected.name, projected.image_size) == (classifier.name, classifier.image_size)
    assert len(projected.classes) == 12
    assert projected.mean is classifier.mean


def test_an_attack_succeeds_only_across_classes_of_the_data_set(classifier, images):
    """Inside an attack, too, a prediction that moves within one class of the data set is still right."""
    halves = ClassSpace("halves", ("first", "second"), (tuple(range(12)), tuple(range(12, 24))))
    projected = restrict_logits(classifier, halves)
    labels = predictions_of(projected, projected.logits(images))
    moved, predictions, _ = attack(projected, images, labels, BIM, 8 / 255)
    assert torch.equal(predictions, projected.logits(moved).argmax(1))
    assert set(predictions.tolist()) <= {0, 1}
    fine = classifier.logits(images).argmax(1)
    _, under_fine_labels, _ = attack(classifier, images, fine, BIM, 8 / 255)
    assert (under_fine_labels == fine).sum() <= (predictions == labels).sum()


def test_gradients_reach_the_best_member_alone():
    logits = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    ClassSpace("x", ("a", "b"), ((0, 1), (2,))).project(logits)[0, 0].backward()
    assert logits.grad.tolist() == [[0.0, 1.0, 0.0]]


def test_a_class_list_that_lacks_classes_is_named():
    with pytest.raises(InputError, match="'imagenet-x' has classes that the class list 'mini' lacks: n01440764"):
        class_space("imagenet-x", MINI, {"fish": ["n01440764"]})
    with pytest.raises(InputError, match="member of two"):
        class_space("imagenet-x", MINI, {"fish": [MINI.keys[0]], "bird": [MINI.keys[0]]})
