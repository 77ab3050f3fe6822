"""A stratified split in numpy, draw for draw the one of scikit-learn's `StratifiedShuffleSplit`.

Written out so that no training job pays for importing scikit-learn and no version of it can move
a split; numpy freezes the stream of `RandomState`. A test holds the two together.
"""

import numpy as np


def stratified_split(
    labels: np.ndarray, train_size: int, val_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of a training set, a validation set and the rest, each class in its proportion.

    Args:
        labels: integer class of each element, [N].
        train_size: elements of the training set.
        val_size: elements of the validation set; the two together at most N.
        seed: of the split.

    Returns:
        Training and validation indices in shuffled order (what ``StratifiedShuffleSplit(
        n_splits=1, train_size=..., test_size=..., random_state=seed)`` returns), and the indices
        of the rest in ascending order.
    """
    random = np.random.RandomState(seed)
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    train_counts = _share_out(counts, train_size, random)
    val_counts = _share_out(counts - train_counts, val_size, random)
    train: list[int] = []
    val: list[int] = []
    for indices, n_train, n_val in zip(members, train_counts, val_counts, strict=True):
        shuffled = indices[random.permutation(len(indices))]
        train.extend(shuffled[:n_train])
        val.extend(shuffled[n_train : n_train + n_val])
    train_index = random.permutation(np.array(train, dtype=np.int64))
    val_index = random.permutation(np.array(val, dtype=np.int64))
    taken = np.concatenate([train_index, val_index])
    return train_index, val_index, np.setdiff1d(np.arange(len(labels)), taken)


def _share_out(counts: np.ndarray, draws: int, random: np.random.RandomState) -> np.ndarray:
    """How many of ``draws`` fall to each class: in proportion, remainders to the largest.

    Ties between remainders are broken at random, which is what makes the result depend on the
    random state (scikit-learn's ``_approximate_mode``).
    """
    if draws == 0:
        return np.zeros_like(counts)
    exact = counts / counts.sum() * draws
    shares = np.floor(exact)
    missing = int(draws - shares.sum())
    remainder = exact - shares
    for value in np.unique(remainder)[::-1]:
        if missing == 0:
            break
        (tied,) = np.where(remainder == value)
        chosen = random.choice(tied, size=min(len(tied), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    return shares.astype(counts.dtype)
