"""The seven emotions in FER-2013's numbering, the side of a face, and the names of the splits.

Source: Goodfellow et al., "Challenges in Representation Learning", ICML 2013 workshop, arXiv:1307.0414.
"""

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Label i is EMOTIONS[i]; every probability vector and confusion matrix is in this order."""

NUM_EMOTIONS = len(EMOTIONS)

PROBABILITIES = tuple(f"probability_{emotion}" for emotion in EMOTIONS)
"""The columns of a table that hold a prediction."""

IMAGE_SIDE = 48
"""Side of a face in pixels; faces are square and grayscale."""

NUM_PIXELS = IMAGE_SIDE * IMAGE_SIDE

USAGES = ("Training", "PublicTest", "PrivateTest")
"""The splits as the data set publishes them (its `Usage` column)."""

SPLITS = ("train", "validation", "test")
"""The splits as this pipeline uses them."""
