"""Masks without a network: the pet found by position, luma, texture or a cut.

Like all methods, these see gray photographs only. The "low-level cues" of early segmentation were
colors; here, luma is what is left of them, and a threshold on true colors would be no baseline of
the same task.

Those that learn tell the foreground, pet and border together, from the background. The border is
then drawn alike for all of them, see `add_border`: the outline of an uncertain foreground has no
texture of its own that could be learned.
"""

import numpy as np
from scipy import ndimage
from skimage.feature import hog
from skimage.filters import threshold_otsu

from colorseg import color, data
from colorseg.baselines import features
from colorseg.extras import import_extra
from colorseg.metrics import BACKGROUND, BORDER, CLASSES, PET, VOID

AT_ONCE = 64  # images
MASKS_TO_MEASURE = 500  # enough for the width of a border
BOX_FOLDS = 5
BOX_PENALTY = 30.0  # of the ridge regression; 10 and 100 find boxes as well
BOX_CELLS = 41  # a side of the map of what lies around a box...
BOX_REACH = 2.5  # ...up to so many of its sides from its center
LOGISTIC_SAMPLES = 100_000  # pixels


def add_border(foreground, width):
    """Makes class ids of a foreground: its outermost pixels are the border, the others the pet.

    Args:
        foreground: bool `[..., H, W]`, pet and border.
        width: pixels whose center is at most so far from the next background pixel's are border.
            Where the image cuts the foreground off, there is no border.

    Returns:
        uint8 array of the same shape: 0 pet, 1 background, 2 border.
    """
    foreground = np.asarray(foreground, bool)
    ids = np.where(foreground, PET, BACKGROUND).astype(np.uint8)
    for index in np.ndindex(foreground.shape[:-2]):
        depth = _depth(foreground[index])
        ids[index][foreground[index] & (depth <= width)] = BORDER
    return ids


def measure_border(masks):
    """Returns the width, in whole pixels, with which `add_border` makes the fewest errors.

    Args:
        masks: class ids `[N, H, W]`, of which at most 500 are looked at; `VOID` does not count.
    """
    masks = masks[:: -(-len(masks) // MASKS_TO_MEASURE)]
    depth = np.stack([_depth(mask != BACKGROUND) for mask in masks])
    widths = np.arange(max(masks.shape[1:]) // 8 + 1)
    wrong = [
        np.sum((depth <= width) & (masks == PET)) + np.sum((depth > width) & (masks == BORDER))
        for width in widths
    ]
    return int(widths[np.argmin(wrong)])


def _depth(foreground):
    """Returns the distance of each pixel to the next background, inf where there is none."""
    if foreground.all():
        return np.full(foreground.shape, np.inf)
    return ndimage.distance_transform_edt(foreground)


class AllForeground:
    """Everything is pet."""

    def predict(self, gray):
        """Returns {"mask": class ids `[B, H, W]`} for luma `[B, H, W, 1]` in `[0, 1]`."""
        return {"mask": np.full(gray.shape[:-1], PET, np.uint8)}


class _Learned:
    """What the methods that learn from masks share: `_learn`, and `_find` the foreground."""

    def __init__(self):
        self.border = None

    def fit(self, arrays):
        """Learns from a training split, and the width of its borders; returns itself.

        Args:
            arrays: dict of "images", uint8 `[N, H, W, 3]`, and "segmentation_masks", class ids
                `[N, H, W, 1]`; photographs without any known pixel are left out.

        Raises:
            ValueError: if the masks hold no foreground or no background.
            ImportError: if a package is missing that the method needs.
        """
        masks = arrays["segmentation_masks"][..., 0]
        used = (masks != VOID).any(axis=(1, 2))
        if not (np.isin(masks, (PET, BORDER)).any() and (masks == BACKGROUND).any()):
            raise ValueError(
                f"{type(self).__name__} learns from masks, and these hold no foreground or no "
                "background; give it photographs with masks of both"
            )
        names = arrays.get("file_names")
        self._learn(
            color.photos_to_gray(arrays["images"][used])[..., 0],
            masks[used],
            None if names is None else names[used],
        )
        self.border = measure_border(masks[used])
        self.shape = masks.shape[1:]
        return self

    def predict(self, gray):
        """Returns {"mask": class ids `[B, H, W]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
            ValueError: if the images are of another size than those of `fit`.
        """
        features.check_fitted(self, self.border is not None)
        if gray.shape[1:3] != self.shape:
            raise ValueError(
                f"`gray` must be as large as the photographs of `fit`, {self.shape}, got "
                f"{gray.shape[1:3]}; resize them, or fit on photographs of this size"
            )
        return {"mask": add_border(self._find(gray[..., 0]), self.border)}


class MeanMask(_Learned):
    """The same mask for all: foreground where most of the training photographs have it."""

    def _learn(self, gray, masks, names):
        self.share = _share_of_foreground(masks)

    def _find(self, gray):
        return np.broadcast_to(self.share > 0.5, gray.shape)


class Threshold(_Learned):
    """The bright or the dark side of Otsu's threshold on the luma, weighed with the position.

    The luma is blurred and split in two by Otsu's threshold, which is the clustering into two
    values with the least variance. The pet's side is the one with more of the places where pets
    mostly are. The odds of the foreground at a pixel are those of its position, times the
    likelihood ratio of its side, both counted on the training split.

    Args:
        position: whether the position takes part; without, all of the pet's side is foreground.
        blur: standard deviation in pixels.

    Reference:
        Otsu: A threshold selection method from gray-level histograms, 1979.
    """

    def __init__(self, *, position=True, blur=2.0):
        super().__init__()
        self.position = position
        self.blur = blur

    def _learn(self, gray, masks, names):
        self.share = _share_of_foreground(masks)
        side = self._split(gray)
        of_pets, of_others = (
            _share(side, among) for among in (np.isin(masks, (PET, BORDER)), masks == BACKGROUND)
        )
        # How much more likely foreground is on the other side, and on the pet's side.
        self.evidence = np.log([(1 - of_pets) / (1 - of_others), of_pets / of_others])

    def _find(self, gray):
        side = self._split(gray)
        return _logit(self.share) + self.evidence[side.astype(int)] > 0 if self.position else side

    def _split(self, gray):
        """Returns which pixels `[B, H, W]` are on the pet's side; none of an image of one luma."""
        found = np.zeros(gray.shape, bool)
        for image, side in zip(gray, found, strict=True):
            smooth = ndimage.gaussian_filter(image, self.blur)
            bright = smooth > threshold_otsu(smooth)
            if bright.any():
                is_bright = self.share[bright].mean() > self.share[~bright].mean()
                side[:] = bright if is_bright else ~bright
        return found


class TextonForest(_Learned):
    """Two forests of random trees, on pixels and on what the first one says of the surroundings.

    After the semantic texton forests of Shotton et al. A pixel's first description is a set of
    random tests on the luma around it, in a square of 21 pixels: a value, or the sum, the
    difference or the absolute difference of two; and its position. A forest of extremely
    randomized trees learns its class from them. A second forest has other such tests, too, and the
    mean scores of the first one in random rectangles all around, which is how a pixel of fur knows
    that it is in the midst of fur; each forest learns from its own half of the photographs.

    Theirs is on colors, chooses each node's tests anew instead of from a fixed set, describes
    rectangles also by their histogram of tree nodes, and multiplies the result by the opinion of a
    classifier of whole images.

    Args:
        trees: of each forest.
        samples: pixels that each forest learns from.
        tests: of the luma, and as many rectangles.
        leaf: a tree stops at so few samples.
        stride: the forests look at one pixel in so many of each direction; scores in between are
            interpolated.
        seed: of tests, samples and trees.

    Reference:
        Shotton, Johnson, Cipolla: Semantic texton forests for image categorization and
        segmentation, CVPR 2008. Geurts, Ernst, Wehenkel: Extremely randomized trees, 2006.
    """

    RADIUS = 10  # pixels

    def __init__(self, *, trees=20, samples=150_000, tests=80, leaf=5, stride=4, seed=0):
        super().__init__()
        self.trees = trees
        self.samples = samples
        self.tests = tests
        self.leaf = leaf
        self.stride = stride
        self.seed = seed

    def _learn(self, gray, masks, names):
        if len(gray) < 2:
            raise ValueError(f"TextonForest needs 2 photographs with masks, got {len(gray)}")
        rng = np.random.default_rng(self.seed)
        self.rows, self.columns = (
            np.arange(self.stride // 2, side, self.stride) for side in gray.shape[1:]
        )
        self.pixel_tests = [self._draw_pixel_test(rng) for _ in range(2 * self.tests)]
        self.region_tests = [self._draw_region_test(rng) for _ in range(self.tests)]
        self.forests = []
        for half in np.array_split(rng.permutation(len(gray)), 2):
            self.forests.append(self._grow(gray[half], masks[half], rng))

    def _find(self, gray):
        scores = self._score(gray)
        foreground = scores[..., PET] + scores[..., BORDER]
        vertical = _interpolation(self.rows, gray.shape[1])
        horizontal = _interpolation(self.columns, gray.shape[2])
        return vertical @ foreground @ horizontal.T > 0.5

    def _score(self, gray):
        """Returns the scores of the last forest, `[B, h, w, 3]`."""
        scores = None
        for level, forest in enumerate(self.forests):
            described = self._describe(gray, scores, level)
            found = forest.predict_proba(described.reshape(-1, described.shape[-1]))
            scores = np.zeros((*described.shape[:-1], len(CLASSES)), "float32")
            scores[..., forest.classes_] = found.reshape(*described.shape[:-1], -1)
        return scores

    def _grow(self, gray, masks, rng):
        """Returns the next forest, grown on random pixels of photographs it has not seen."""
        ensemble = import_extra("sklearn.ensemble", "baselines")
        labels = masks[:, self.rows][:, :, self.columns]
        share = self.samples / labels.size
        rows, classes = [], []
        for start in range(0, len(gray), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            chosen = (labels[part] != VOID) & (rng.random(labels[part].shape) < share)
            scores = self._score(gray[part]) if self.forests else None
            rows.append(self._describe(gray[part], scores, len(self.forests))[chosen])
            classes.append(labels[part][chosen])
        forest = ensemble.ExtraTreesClassifier(
            self.trees, min_samples_leaf=self.leaf, random_state=self.seed
        )
        return forest.fit(np.concatenate(rows), np.concatenate(classes))

    def _describe(self, gray, scores, level):
        """Returns the features of a level, float32 `[B, h, w, F]`."""
        padded = np.pad(gray, [(0, 0), *[(self.RADIUS, self.RADIUS)] * 2], mode="symmetric")
        own = self.pixel_tests[level * self.tests : (level + 1) * self.tests]
        found = [self._test_pixels(padded, *test) for test in own]
        found += np.broadcast_arrays(self.rows[:, None], self.columns, found[0])[:2]
        if level:
            summed = np.pad(scores, [(0, 0), (1, 0), (1, 0), (0, 0)]).cumsum(1).cumsum(2)
            found += [self._test_region(summed, *test) for test in self.region_tests]
        return np.stack([values.astype("float32") for values in found], axis=-1)

    def _draw_pixel_test(self, rng):
        places = rng.integers(0, 2 * self.RADIUS + 1, size=(2, 2))
        return *places, rng.integers(4)

    def _test_pixels(self, padded, first, second, kind):
        a, b = (padded[:, y + self.rows][:, :, x + self.columns] for y, x in (first, second))
        return (a, a + b, a - b, np.abs(a - b))[kind]

    def _draw_region_test(self, rng):
        size = np.array([len(self.rows), len(self.columns)])
        return (
            rng.integers(-(size // 2), size // 2 + 1),
            rng.integers(0, size // 4 + 1),
            rng.choice(CLASSES),
        )

    def _test_region(self, summed, offset, half, kind):
        """Returns the mean score of a class in a rectangle, as far as it is in the image."""
        (top, bottom), (left, right) = (
            _span(size - 1, *place)
            for size, *place in zip(summed.shape[1:3], offset, half, strict=True)
        )
        plane = summed[..., kind]
        total = (
            plane[:, bottom][:, :, right]
            - plane[:, top][:, :, right]
            - plane[:, bottom][:, :, left]
            + plane[:, top][:, :, left]
        )
        return total / np.outer(bottom - top, right - left)


class GrabCut(_Learned):
    """A cut between the lumas of what surely is pet and what surely is not, from the head's box.

    After Parkhi et al., who detect the head and cut the body out by its colors. Head boxes are
    known of the training split alone, so everywhere else they are estimated, by a ridge regression
    on histograms of oriented gradients. How likely each pixel is foreground follows from its place
    relative to the box and in the image, by a logistic regression of the two shares counted on the
    training split, where the boxes are estimated, too, by regressions of the other photographs.
    Data without a single head box is served by the boxes of the whole pets.

    Pixels that are likely enough, and the likeliest twentieth, are certain for OpenCV's GrabCut,
    and so are the unlikely ones; it decides the others. It is given the gray image three times.

    Args:
        sure: probability of foreground or of background from which a pixel is certain.
        iterations: of GrabCut.
        seed: of GrabCut's clustering.

    Reference:
        Parkhi, Vedaldi, Zisserman, Jawahar: Cats and dogs, CVPR 2012. Rother, Kolmogorov, Blake:
        "GrabCut": interactive foreground extraction using iterated graph cuts, 2004.
    """

    def __init__(self, *, sure=0.8, iterations=1, seed=0):
        super().__init__()
        self.sure = sure
        self.iterations = iterations
        self.seed = seed

    def _learn(self, gray, masks, names):
        linear_model = import_extra("sklearn.linear_model", "baselines")
        selection = import_extra("sklearn.model_selection", "baselines")
        boxes, known = _boxes(masks, names)
        if known.sum() < BOX_FOLDS:
            raise ValueError(
                f"GrabCut needs {BOX_FOLDS} photographs with a known box, got {known.sum()}"
            )
        boxes, masks, described = boxes[known], masks[known], _gradients(gray[known])
        self.regression = linear_model.Ridge(alpha=BOX_PENALTY).fit(described, boxes)
        estimated = selection.cross_val_predict(self.regression, described, boxes, cv=BOX_FOLDS)
        self.share = _share_of_foreground(masks)
        self.around = self._count_around(estimated, masks)
        chosen = (masks != VOID) & (
            np.random.default_rng(self.seed).random(masks.shape) < LOGISTIC_SAMPLES / masks.size
        )
        odds = np.concatenate(
            [self._odds(box)[c] for box, c in zip(estimated, chosen, strict=True)]
        )
        self.mix = linear_model.LogisticRegression().fit(odds, masks[chosen] != BACKGROUND)

    def _find(self, gray):
        boxes = self.regression.predict(_gradients(gray))
        return np.stack([self._cut(*pair) for pair in zip(gray, boxes, strict=True)])

    def _cut(self, image, box):
        cv2 = import_extra("cv2", "baselines")
        odds = self._odds(box)
        likely = self.mix.predict_proba(odds.reshape(-1, 2))[:, 1].reshape(image.shape)
        labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[likely >= min(self.sure, np.quantile(likely, 0.95))] = cv2.GC_FGD
        labels[likely <= max(1 - self.sure, np.quantile(likely, 0.05))] = cv2.GC_BGD
        pixels = np.repeat(np.round(255 * image).astype(np.uint8)[..., None], 3, axis=-1)
        cv2.setRNGSeed(self.seed)
        cv2.grabCut(pixels, labels, None, None, None, self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))

    def _odds(self, box):
        """Returns the log odds of foreground by the place around a box and by the position."""
        return np.stack([_logit(self.around[self._place(box)]), _logit(self.share)], axis=-1)

    def _count_around(self, boxes, masks):
        """Returns the share of foreground by the place around a box, `[cells, cells]`."""
        foreground, known = np.zeros((2, BOX_CELLS, BOX_CELLS))
        for box, mask in zip(boxes, masks, strict=True):
            place = self._place(box)
            np.add.at(foreground, place, np.isin(mask, (PET, BORDER)))
            np.add.at(known, place, mask != VOID)
        return (foreground + 0.5) / (known + 1)

    def _place(self, box):
        """Returns the cell of each pixel, counted from the box's center in units of its sides."""
        cells = []
        for axis, size in enumerate(self.share.shape):
            low, high = box[axis], box[axis + 2]
            units = ((np.arange(size) + 0.5) / size - (low + high) / 2) / max(high - low, 0.05)
            cell = (units / BOX_REACH + 1) / 2 * BOX_CELLS
            cells.append(np.clip(cell, 0, BOX_CELLS - 1).astype(int))
        return np.ix_(*cells)


def _boxes(masks, names):
    """Returns boxes `[N, 4]`, (top, left, bottom, right) in [0, 1], and which are known, `[N]`.

    They are the heads'; where no photograph has one, as in other data than Oxford's, the pets'.
    """
    heads = _head_boxes() if names is not None and data.pets_are_prepared() else {}
    found = [heads.get(name, np.zeros(4)) for name in names] if heads else []
    boxes = np.stack(found) if np.any(found) else _pet_boxes(masks)
    return boxes, boxes[:, 2] > boxes[:, 0]


def _head_boxes():
    """Returns the boxes of the heads in Oxford's train split, by file name; zeros if unknown."""
    import tensorflow_datasets as tfds  # noqa: PLC0415 - takes a second

    skip = {key: tfds.decode.SkipDecoding() for key in ("image", "segmentation_mask")}
    examples = data.pets_builder().as_dataset(split="train", decoders=skip).as_numpy_iterator()
    return {example["file_name"]: example["head_bbox"] for example in examples}


def _pet_boxes(masks):
    """Returns the boxes around the foreground, zeros where there is none."""
    boxes = np.zeros((len(masks), 4))
    for mask, box in zip(masks, boxes, strict=True):
        foreground = np.isin(mask, (PET, BORDER))
        if foreground.any():
            rows, columns = (np.flatnonzero(foreground.any(axis=axis)) for axis in (1, 0))
            ends = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
            box[:] = np.divide(ends, 2 * mask.shape)
    return boxes


def _gradients(gray):
    """Returns histograms of oriented gradients `[B, F]` of luma `[B, H, W]`, in 8x8 cells."""
    cell = gray.shape[1] // 8, gray.shape[2] // 8
    return np.stack([hog(image, pixels_per_cell=cell, cells_per_block=(2, 2)) for image in gray])


def _share_of_foreground(masks):
    """Returns the share of pet and border among the known pixels of each position, `[H, W]`."""
    return _share(np.isin(masks, (PET, BORDER)), masks != VOID, axis=0)


def _share(values, among, *, axis=None):
    """Returns the share of True values among some, never quite 0 or 1."""
    return ((values & among).sum(axis) + 0.5) / (among.sum(axis) + 1)


def _logit(probability):
    return np.log(probability / (1 - probability))


def _span(size, offset, half):
    """Returns where the interval about each of `size` places, moved by an offset, starts and ends.

    What is beyond the image is cut off, but for one last place.
    """
    center = np.arange(size) + offset
    low, high = (np.clip(center + reach, 0, size - 1) for reach in (-half, half))
    return low, high + 1


def _interpolation(places, size):
    """Returns the matrix `[size, n]` that interpolates linearly between values at n places."""
    return np.stack(
        [np.interp(np.arange(size), places, one) for one in np.eye(len(places))], axis=1
    )
