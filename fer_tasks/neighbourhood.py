"""A face, its regions, and a network that can be asked about copies in which some regions are switched off."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fer_tasks.explained_network import Network
from fer_tasks.face_regions import Segments, face_segments, filled, region_centres
from fer_tasks.lime_surrogate import Masks
from fer_tasks.settings import RunSettings

FloatArray = NDArray[np.float32]

_STEPS = 16  # of integrated gradients; with 64 the regions' sums differ by less than LIME's own scatter


@dataclass(frozen=True)
class Neighbourhood:
    """face, fill: float32 (48, 48) in [0, 1]; fill is what stands where a region is off."""

    face: FloatArray
    fill: FloatArray
    segments: Segments
    network: Network

    @classmethod
    def of(cls, face: FloatArray, network: Network, settings: RunSettings) -> "Neighbourhood":
        segments = face_segments(face, settings)
        return cls(face, filled(face, segments, settings.lime_fill), segments, network)

    @property
    def num_regions(self) -> int:
        return int(self.segments.max()) + 1

    @property
    def centres(self) -> NDArray[np.float64]:
        """float64 (regions, 2): row and column of each region's middle."""
        return region_centres(self.segments)

    @property
    def shares(self) -> NDArray[np.float64]:
        """float64 (regions,): the share of the picture that each region is; they sum to 1."""
        counts: NDArray[np.float64] = np.bincount(self.segments.ravel()) / self.segments.size
        return counts

    @cached_property
    def probabilities(self) -> FloatArray:
        """float32 (7,): what the network says of the whole face, to its full precision."""
        probabilities: FloatArray = self.network.probabilities(self.face[None, ..., None])[0]
        return probabilities

    def ask(self, masks: Masks) -> FloatArray:
        """float32 (n, 7): what the network says of the copies that show these regions."""
        return self.network.of_copies(self.face, self.fill, self.segments, masks)

    def integrated_gradients(self, label: int) -> NDArray[np.float64]:
        """float64 (regions,): how much each region raises the probability of `label` on the way from fill to face.

        They sum to about the difference between the two (M. Sundararajan et al., "Axiomatic Attribution for Deep
        Networks", ICML 2017).
        """
        way = ((np.arange(_STEPS) + 0.5) / _STEPS).astype(np.float32)[:, None, None]
        change = self.face - self.fill
        slopes = self.network.gradients((self.fill + way * change)[..., None], label)[..., 0].mean(axis=0)
        gains = (slopes * change).ravel().astype(np.float64)
        return np.asarray(np.bincount(self.segments.ravel(), gains, minlength=self.num_regions), np.float64)
