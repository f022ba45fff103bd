"""Labelled photographs for ImageNet networks: twenty that a package carries, or a folder of yours."""

from dataclasses import dataclass
from pathlib import Path

import torch

from qtoolkit.lab.fetch import Source, fetch
from qtoolkit.lab.progress import bar
from qtoolkit.lab.ways import Mirror, Wheel

TWENTY = Source(
    "foolbox-photos",
    files={
        "imagenet_00_243.jpg": "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d",
        "imagenet_01_559.jpg": "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6",
        "imagenet_02_438.jpg": "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed",
        "imagenet_03_990.jpg": "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f",
        "imagenet_04_949.jpg": "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669",
        "imagenet_05_853.jpg": "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131",
        "imagenet_06_609.jpg": "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f",
        "imagenet_07_609.jpg": "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c",
        "imagenet_08_915.jpg": "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c",
        "imagenet_09_455.jpg": "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4",
        "imagenet_10_541.jpg": "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9",
        "imagenet_11_630.jpg": "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01",
        "imagenet_12_741.jpg": "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529",
        "imagenet_13_471.jpg": "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81",
        "imagenet_14_129.jpg": "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139",
        "imagenet_15_99.jpg": "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e",
        "imagenet_16_251.jpg": "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129",
        "imagenet_17_22.jpg": "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5",
        "imagenet_18_317.jpg": "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d",
        "imagenet_19_305.jpg": "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556",
    },
    ways=(
        Wheel("foolbox", "3.3.4", folder="foolbox/data", sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb"),
        Mirror("https://raw.githubusercontent.com/bethgelab/foolbox/v3.3.4/foolbox/data/", suffix=""),
    ),
)
SIDE, SHORT_SIDE = 224, 256  # the middle 224 x 224 of a picture whose shorter side is 256
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class Photos:
    """Photographs: `pixels` uint8 (N, 3, 224, 224), `labels` int64 (N,) from 0 to 999, and the `name` of the set."""

    pixels: torch.Tensor
    labels: torch.Tensor
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Photos({len(self):,} of {self.name})"

    def __getitem__(self, rows: slice | torch.Tensor) -> "Photos":
        """The photographs that a slice or an index tensor selects."""
        return Photos(self.pixels[rows], self.labels[rows], self.name)

    def inputs(self) -> torch.Tensor:
        """What EfficientNet-Lite0 eats: float32 (N, 3, 224, 224), (pixel - 127) / 128, so in [-0.99, 1]."""
        return (self.pixels.float() - 127) / 128


def photos(folder: str | Path | None = None) -> Photos:
    """Labelled photographs: twenty from the foolbox package (MIT license) or all of a folder.

    Twenty are enough to see that a network works and far too few to compare two accuracies: one photograph is 5 points.
    A folder holds `labels.tsv` (file, class from 0 to 999, name) or one subfolder a class: 1,000 of them, in ImageNet's alphabetical order,
    or any number named by their class. Each photograph is scaled (bicubic) to a shorter side of 256 and cropped to the middle 224 x 224.
    Raises FileNotFoundError or ValueError for a folder that is neither, and DataUnavailable if the twenty cannot be had.

    >>> photos()
    Photos(20 of foolbox)
    """
    if folder is None:
        home = fetch(TWENTY)
        return _read("foolbox", [(home / name, int(name[:-4].rsplit("_", 1)[1])) for name in TWENTY.files])
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: QT_IMAGES and `photos` want a folder of pictures with labels.tsv or a subfolder a class")
    return _read(root.name, _by_table(root) if (root / "labels.tsv").exists() else _by_subfolder(root))


def _by_table(root: Path) -> list[tuple[Path, int]]:
    rows = [line.split("\t") for line in (root / "labels.tsv").read_text(encoding="utf-8").splitlines() if line.strip()]
    found = [(root / row[0], int(row[1])) for row in rows if len(row) > 1 and row[1].strip().isdigit()]
    return found or _refuse(root, "labels.tsv has no line 'file <tab> class'")


def _by_subfolder(root: Path) -> list[tuple[Path, int]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if len(folders) == 1000:
        classes = range(1000)
    elif folders and all(path.name.isdigit() for path in folders):
        classes = [int(path.name) for path in folders]
    else:
        _refuse(root, f"it has no labels.tsv and {len(folders)} subfolders, expected 1,000 or names that are class numbers")
    return [(path, label) for label, home in zip(classes, folders) for path in sorted(home.iterdir()) if path.suffix.lower() in PICTURES]


def _refuse(root: Path, reason: str):
    raise ValueError(f"{root} is no set of labelled pictures: {reason}")


def _read(name: str, files: list[tuple[Path, int]]) -> Photos:
    labels = torch.tensor([label for _, label in files])
    if not len(files) or bool((labels > 999).any()):
        raise ValueError(f"{name} has {len(files)} pictures and classes up to {int(labels.max()) if len(files) else '-'}, expected some, and 0 to 999")
    pixels = torch.empty(len(files), 3, SIDE, SIDE, dtype=torch.uint8)
    with bar(what=f"reading {name}", total=len(files)) as progress:
        for row, (path, _) in zip(pixels, files):
            row.copy_(_middle(path))
            progress.update()
    return Photos(pixels, labels, name)


def _middle(path: Path) -> torch.Tensor:
    """The middle of a picture: uint8 (3, 224, 224)."""
    import numpy
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} is no readable picture ({error})") from None
    scale = SHORT_SIDE / min(picture.size)
    width, height = (round(side * scale) for side in picture.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    crop = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + SIDE, top + SIDE))
    return torch.from_numpy(numpy.array(crop)).permute(2, 0, 1)
