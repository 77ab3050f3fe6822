"""A few molecules in TUDataset's format, for the tests: texts by the name of their part."""

import numpy as np

# Two classes; a triangle, a pair, a path of four of which one bond is doubled, one atom alone.
BONDS = ["1, 2", "2, 1", "2, 3", "3, 2", "1, 3", "3, 1", "4, 5", "5, 4", "6, 7", "7, 6", "7, 8"]
BONDS += ["8, 7", "8, 9", "9, 8", "9, 8", "8, 8"]
TEXTS = {
    "A": "\n".join(BONDS),
    "graph_indicator": "\n".join("1112233334"),
    "node_labels": "\n".join("0310200120"),
    "graph_labels": "0\n1\n1\n0",
}


def write(folder, texts=TEXTS):
    """The files of a set, as its zip has them."""
    (folder / "Mutagenicity").mkdir(parents=True, exist_ok=True)
    for part, text in texts.items():
        (folder / "Mutagenicity" / f"Mutagenicity_{part}.txt").write_text(text + "\n")
    return folder


def random_texts(count, seed=0):
    """So many random molecules of 2 to 9 atoms; of class 1, those with an atom of kind 0."""
    random = np.random.default_rng(seed)
    bonds, graph, atoms, y, first = [], [], [], [], 1
    for number in range(1, count + 1):
        size = int(random.integers(2, 10))
        kinds = random.integers(1, 14, size)
        kinds[0] = 0 if random.random() < 0.5 else kinds[0]
        pairs = [(i, int(random.integers(0, i))) for i in range(1, size)]
        bonds += [f"{first + a}, {first + b}" for i, j in pairs for a, b in ((i, j), (j, i))]
        graph += [str(number)] * size
        atoms += map(str, kinds)
        y.append(str(int(kinds[0] == 0)))
        first += size
    parts = (bonds, graph, atoms, y)
    return dict(zip(TEXTS, map("\n".join, parts), strict=True))
