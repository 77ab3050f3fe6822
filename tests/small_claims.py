"""Claims of each kind on the small study, for the tests of claims."""

GREATER = {
    "kind": "greater", "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1, 0.2],
    "direction": "a_above_b",
}  # fmt: skip
SHARE = {"kind": "share", "region": 1, "variant": "sam", "rhos": [0.1], "when": "mean"}
TREND = {
    "kind": "share_trend", "region": 1, "variant": "sam", "rhos": [0.1], "early": "first_epoch",
    "late": "last_epoch", "direction": "rises",
}  # fmt: skip


PERSISTENCE = {"kind": "persistence", "statistic": "overlap", "region": 1, "variant": "sam",
               "rhos": [0.1], "lag": 1}  # fmt: skip
BIN = {"kind": "bin_largest", "bin": "1<r<1.2", "among": ["1<r<1.2", "2<r<4"], "variant": "sam",
       "rhos": [0.1], "when": "mean"}  # fmt: skip
SETTINGS = {"kind": "settings", "metric": "grad_norm", "variant": "sgd", "a": {"lr": 0.2}, "b": {},
            "direction": "a_below_b"}  # fmt: skip


def claim(**fields: object) -> dict:
    words = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
    return words | fields
