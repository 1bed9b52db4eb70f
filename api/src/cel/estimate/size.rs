//! Sizes and costs, which stop at the greatest number instead of going round.

/// Share of a text's size that reading it once costs. *Source:* `StringTraversalCostFactor` of `cel-go`.
pub(super) const READING: f64 = 0.1;

/// From how few to how many items, members, letters or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Size {
    /// Nothing is known.
    pub(super) const ANY: Size = Size { min: 0, max: u64::MAX };

    /// Exactly so many.
    pub(super) fn exactly(size: u64) -> Size {
        Size { min: size, max: size }
    }

    /// Up to so many.
    pub(super) fn up_to(max: u64) -> Size {
        Size { min: 0, max }
    }

    /// One after the other.
    pub(super) fn plus(self, other: Size) -> Size {
        Size { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    /// One for each of the other.
    pub(super) fn times(self, other: Size) -> Size {
        Size { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// One or the other.
    pub(super) fn or(self, other: Size) -> Size {
        Size { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The most that work on it costs, at so much for each.
    pub(super) fn cost(self, each: f64) -> u64 {
        share(self.max, each)
    }
}

/// A number by a factor, rounded up.
pub(super) fn share(number: u64, factor: f64) -> u64 {
    // The conversion stops at the greatest number, as upstream does.
    (number as f64 * factor).ceil() as u64
}
