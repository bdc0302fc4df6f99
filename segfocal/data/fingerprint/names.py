"""What the names of folders and files say: splits, images, masks, and the words that are left."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SPLITS = {
    "train": ("train", "training", "trainset", "trn", "tr", "trainval"),
    "val": ("val", "valid", "validation", "valset", "dev"),
    "test": ("test", "testing", "testset", "tst", "ts", "te"),
}
_SPLIT_OF = {name: split for split, names in _SPLITS.items() for name in names}
_LONG_SPLITS = ("trainval", "training", "train", "validation", "valid", "val", "testing", "test")
_AFTER_SPLIT = re.compile(r"(crop|data|dataset|set|patch|tile|lab|pic|sample|part)(e?s)?|[xy]")
_MASK_STARTS = (
    *("mask", "label", "segm", "annot", "groundtruth", "truth", "target", "manual", "semantic"),
    # other languages without accents; Chinese as escapes
    *("mascar", "maschera", "masque", "etiquet", "anotac", "\u6807\u6ce8", "\u6807\u7b7e", "\u63a9"),
)
_MASK_WORDS = {
    *("seg", "segs", "sem", "anno", "annos", "gt", "gts", "lbl", "lbls", "expert", "msk", "msks"),
    *("maske", "masken", "trimap", "trimaps", "map", "maps", "lesion", "matte", "mattes"),
}
_IMAGE_STARTS = (
    *("image", "img", "input", "photo", "picture", "frame", "orig"),
    *("imagem", "immagin", "bild", "foto"),
)
_IMAGE_WORDS = {"rgb", "scan", "scans", "sat", "raw", "tissue", "jpegs", "cxr"}
_PIECES = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
_CHUNKS = re.compile(r"[^\W_]+")
_BOTH = re.compile(r"(?i)(?<![a-z])train(ing)?[ _-]?(and[ _-])?val(id|idation)?(?![a-z])")
_ORDINAL = re.compile(r"\d+(st|nd|rd|th)[a-z]*", re.IGNORECASE)


@lru_cache(maxsize=100_000)
def pieces(text: str) -> tuple[str, ...]:
    """Return words and numbers in lower case, cut at capitals as well.

    Example:
        >>> pieces("ISIC2018_Task1-2_Training_Input"), pieces("leftImg8bit")
        (('isic', '2018', 'task', '1', '2', 'training', 'input'), ('left', 'img', '8', 'bit'))
    """
    return tuple(found.lower() for found in _PIECES.findall(text))


@lru_cache(maxsize=400_000)
def chunks(stem: str) -> tuple[str, ...]:
    """Return what lies between the separators of a name, in lower case.

    Example:
        >>> chunks("benign (12)_mask_1")
        ('benign', '12', 'mask', '1')
    """
    return tuple(found.lower() for found in _CHUNKS.findall(unicodedata.normalize("NFC", stem)))


def is_both(word: str) -> bool:
    """Return whether a folder's word means training and validation at once.

    Example:
        >>> is_both("TrainVal"), is_both("train")
        (True, False)
    """
    return bool(_BOTH.fullmatch(word))


@lru_cache(maxsize=100_000)
def role(text: str) -> str:
    """Return "mask", "image" or "", whatever a name says it holds; a word for masks counts more.

    Example:
        >>> role("gt_image_2"), role("imgsd"), role("1. Microaneurysms"), role("trainannot")
        ('mask', 'image', '', 'mask')
    """
    words = [_without_split(word) for word in pieces(_plain(text))]
    if any(word in _MASK_WORDS or word.startswith(_MASK_STARTS) for word in words):
        return "mask"
    if any(word in _IMAGE_WORDS or word.startswith(_IMAGE_STARTS) for word in words):
        return "image"
    return ""


def split_of(word: str) -> str:
    """Return the split that a word names, or "".

    Example:
        >>> split_of("Training"), split_of("Tr"), split_of("testA"), split_of("trainable")
        ('train', 'train', 'test', '')
    """
    found = _SPLIT_OF.get(word.lower())
    if found is None and len(word) > 3 and word[-1].isupper() and word[:-1].islower():
        found = _SPLIT_OF.get(word[:-1])
    return found or ""


@lru_cache(maxsize=100_000)
def part_split(part: str) -> tuple[str, str, str]:
    """Return the split in the name of a folder, the word that says it, and the name with ``{split}`` in it.

    Example:
        >>> part_split("images_train"), part_split("trainannot")
        (('train', 'train', 'images_{split}'), ('train', 'train', '{split}annot'))
        >>> part_split("train_val"), part_split("traincrop"), part_split("station")
        (('train', 'train_val', '{split}'), ('train', 'train', '{split}crop'), ('', '', 'station'))
    """
    found = []
    both = _BOTH.search(part)
    if both:
        return "train", both.group(), f"{part[: both.start()]}{{split}}{part[both.end() :]}"
    for match in _PIECES.finditer(part):
        word = match.group()
        if split_of(word):
            found.append((split_of(word), word, match.start()))
            continue
        start = next((s for s in _LONG_SPLITS if word.lower().startswith(s)), "")
        rest = word[len(start) :].lower()
        if start and (role(rest) or _AFTER_SPLIT.fullmatch(rest)):
            found.append((split_of(start), word[: len(start)], match.start()))
    if len(found) != 1:
        return "", "", part
    split, word, place = found[0]
    return split, word, f"{part[:place]}{{split}}{part[place + len(word) :]}"


def is_word(chunk: str) -> bool:
    """Return whether a chunk may be a word beside an identity: letters, a first or second, a known word.

    Example:
        >>> [is_word(chunk) for chunk in ("anno", "1stho", "manual1", "0013", "patient7")]
        [True, True, True, False, False]
    """
    return chunk.isalpha() or bool(_ORDINAL.fullmatch(chunk)) or bool(role(chunk))


def numbers(stem: str) -> tuple[int, ...]:
    """Return the numbers in a name.

    Example:
        >>> numbers("case_007_slice12")
        (7, 12)
    """
    return tuple(int(found) for found in re.findall(r"\d+", stem))


def _plain(text: str) -> str:
    """Return a text without accents."""
    whole = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in whole if not unicodedata.combining(c)))


def _without_split(word: str) -> str:
    start = next((s for s in _LONG_SPLITS if word.startswith(s) and word != s), "")
    return word[len(start) :] if start else word
