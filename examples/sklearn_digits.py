"""Train scikit-learn's perceptron on handwritten digits, as it is and with gradmill's steps.

    pip install 'gradmill[demo]'
    python examples/sklearn_digits.py

Only the import differs. The table shows the accuracy on digits that the network has not seen, and
seconds for the whole of ``fit``.
"""

from __future__ import annotations

import sys
import time
import warnings

try:
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier as Theirs

    from gradmill.adapters.sklearn import MLPClassifier as Ours
except ImportError as error:
    sys.exit(f"{error}; install what the example needs with: pip install 'gradmill[demo]'")

ROUNDS = 3


def main() -> None:
    """Train both in turn, and print the table."""
    # Thirty epochs are enough here, whether or not the loss has settled.
    warnings.simplefilter("ignore", ConvergenceWarning)
    images, digits = load_digits(return_X_y=True)
    split = train_test_split(images / 16, digits, stratify=digits, random_state=0)
    train_x, test_x, train_y, test_y = split
    seconds: dict[str, list[float]] = {"scikit-learn": [], "gradmill": []}
    accuracy: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, kind in (("scikit-learn", Theirs), ("gradmill", Ours)):
            network = kind(hidden_layer_sizes=(500, 500), max_iter=30, random_state=0)
            start = time.perf_counter()
            network.fit(train_x, train_y)
            seconds[name].append(time.perf_counter() - start)
            accuracy[name] = network.score(test_x, test_y)
    print(f"{'':14}{'accuracy':>9}{'seconds':>9}")
    for name, times in seconds.items():
        print(f"{name:14}{accuracy[name]:9.3f}{min(times):9.2f}")


if __name__ == "__main__":
    main()
