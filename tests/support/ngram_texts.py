"""Three texts with n-grams, as models read them."""

import numpy as np

# Channels: word ids, and ids of n-grams of one and two words. Ids 1 to 3 are words, 4 and 5 pairs of words.
INPUTS = np.array(
    [
        [[0, 0, 0], [4, 1, 0], [5, 2, 4]],
        [[4, 1, 0], [5, 2, 4], [6, 3, 5]],
        [[0, 0, 0], [0, 0, 0], [6, 3, 0]],
    ],
    np.int32,
)
LABELS = np.array([1, 1, 0], np.int32)
