"""Images on disk in a folder for each class, too many for memory: ImageNet as torchvision reads it.

``<data_dir>/<name>/train/<class>/`` and ``<data_dir>/<name>/val/<class>/``. Nothing is downloaded:
ImageNet asks for a login.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.errors import InputError

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

PARTS = ("train", "val")


def folders(name: str, data_dir: Path) -> "dict[str, ImageFolder]":
    """The two parts by torchvision, which have the same classes.

    Raises:
        InputError: for a folder that is missing, or has no classes, or other ones, or one without
            an image.
    """
    from torchvision.datasets import ImageFolder

    found: dict[str, ImageFolder] = {}
    for part in PARTS:
        path = data_dir / name / part
        allowed = "a folder with a folder of images for each class"
        if not path.is_dir():
            raise InputError(path, "folder", "(missing)", allowed)
        try:
            found[part] = ImageFolder(str(path))
        except FileNotFoundError as error:
            # torchvision says whether classes are missing, or images of a class.
            raise InputError(path, "classes", str(error).split(". ")[0], allowed) from None
    train, val = (found[part].classes for part in PARTS)
    if differ := sorted({*train} ^ {*val}):
        allowed = f"the {len(train)} of {PARTS[0]}"
        raise InputError(data_dir / name / PARTS[1], "classes", f"not both: {differ[0]}", allowed)
    return found


def about(name: str, data_dir: Path) -> dict[str, Any]:
    """What a manifest says: of each part how many classes and images, and a digest of their names.

    Raises:
        InputError: as `folders`.
    """
    told = {}
    for part, images in folders(name, data_dir).items():
        names = [str(Path(path).relative_to(images.root)) for path, _ in images.samples]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        told[part] = {"classes": len(images.classes), "images": len(names), "names": digest}
    return {"name": name, "parts": told}
