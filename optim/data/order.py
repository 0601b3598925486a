"""The order in which units (customers, as a rule) are visited: a function of (seed, position), without a memory.

Each epoch is a permutation of all units. No array holds it: the element at a given place is computed from the place,
so that a batch costs well under a microsecond inside a compiled loop, where a sort or the draws of a counter-based
generator would cost more than the training step. The permutation is an unbalanced Feistel network (Black and Rogaway,
"Ciphers with arbitrary finite domains", 2002) whose rounds are multiply-shift hashes (Dietzfelbinger et al., 1997).
It shuffles data well; it keeps no secrets.

All arithmetic is in 32-bit unsigned integers, so the order is the same in either precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt32

# Up to this many units, ranks of hashes are counted instead: halves of a few values each mix poorly in any number of
# rounds that is worth its time, and counting so few is about as quick.
RANKED_UNITS = 64

# `_shift` scales 16 bits, which reach no further than this.
LARGEST_HALF = 2**16

# Up to this many units larger halves were allowed, where they do no harm yet: the order of those who began so stays.
FREE_HALVES_UNITS = 2 * 10**7


@dataclass(frozen=True)
class Domain:
    """Numbers below `2**bits * high`, as a low half of `bits` bits and a high half below `high`."""

    bits: int
    high: int

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.high << self.bits

    @property
    def rounds(self) -> int:
        """Rounds that the network needs on this domain; measured, on the statistics that the tests hold.

        Six leave no trace on balanced halves (four do). A round that hashes few values into many moves whole blocks
        together, so lopsided or very small halves need eight: with six, pairs in 8 × 125 stay together too often.
        """
        low = 1 << self.bits
        return 6 if min(low, self.high) >= 16 and max(low, self.high) <= 2 * min(low, self.high) else 8


def steps_per_epoch(units: int, batch: int) -> int:
    """Batches that visit every unit once; the last one may be short.

    Args:
        units: how many units there are, at least 1.
        batch: units in a batch, at least 1.
    """
    return -(-units // batch)


def batch_at(
    seed: UInt32[Array, ""], position: Int32[Array, ""], units: int, batch: int
) -> tuple[Int32[Array, " {batch}"], Bool[Array, " {batch}"]]:
    """The units of the batch at a position of the data order.

    Args:
        seed: seed of the order.
        position: index of the batch, counted over all epochs; may be traced.
        units: how many units there are, 1 to 2**31 - 1.
        batch: units in a batch.

    Returns:
        Indices of the units, and which of them count: the batch that ends an epoch is padded with index 0.
        The batches of one epoch together hold every unit exactly once.
    """
    steps = steps_per_epoch(units, batch)
    epoch, step = position // steps, position % steps
    # Unsigned: the last batch may reach beyond the largest signed number.
    place = step.astype(jnp.uint32) * jnp.uint32(batch) + jnp.arange(batch, dtype=jnp.uint32)
    # Where no batch is short that is known before anything runs, and masking costs nothing.
    mask = jnp.ones(batch, bool) if units % batch == 0 else place < units
    # Places beyond the end are no part of the domain: permuting them could walk for ever.
    place = jnp.where(mask, place, 0)
    unit = _permute(_mix(seed ^ _mix(epoch.astype(jnp.uint32) + jnp.uint32(1))), place, units)
    return jnp.where(mask, unit.astype(jnp.int32), 0), mask


def domain_of(units: int) -> Domain:
    """The domain of the Feistel network for so many units: the smallest whose halves are neither too different nor too
    large.

    Where a balanced domain has exactly `units` numbers it is chosen, the most balanced one if there are several;
    otherwise a few numbers lie outside and are walked past.
    """
    length = (units - 1).bit_length()
    # A half has at least a third of the bits: with less a round hardly mixes.
    domains = [Domain(bits, -(-units >> bits)) for bits in range(length // 3, length - length // 3 + 1)]
    candidates = [one for one in domains if units <= FREE_HALVES_UNITS or max(1 << one.bits, one.high) <= LARGEST_HALF]
    return min(candidates, key=lambda domain: (domain.size, abs(domain.high - (1 << domain.bits))))


def _permute(key: UInt32[Array, ""], place: UInt32[Array, " places"], units: int) -> UInt32[Array, " places"]:
    """The units at some places of the permutation that a key names."""
    if units <= RANKED_UNITS:
        return _ranks(key, place, units)
    domain = domain_of(units)
    unit = _feistel(key, place, domain)
    if domain.size == units:
        return unit
    # Applying the permutation again until the number is a unit is itself a permutation, of the units alone.
    return lax.while_loop(
        lambda unit: jnp.any(unit >= units),
        lambda unit: jnp.where(unit >= units, _feistel(key, unit, domain), unit),
        unit,
    )


def _ranks(key: UInt32[Array, ""], place: UInt32[Array, " places"], units: int) -> UInt32[Array, " places"]:
    """The rank of each place's hash among those of all places. Hashes of different places differ: no ties."""

    def hashed(place: UInt32[Array, " any"]) -> UInt32[Array, " any"]:
        return _mix(_mix(place ^ key) + key)

    everyone = hashed(jnp.arange(units, dtype=jnp.uint32))
    return jnp.sum(everyone[None, :] < hashed(place)[:, None], axis=1, dtype=jnp.uint32)


def _feistel(key: UInt32[Array, ""], number: UInt32[Array, " any"], domain: Domain) -> UInt32[Array, " any"]:
    """A permutation of the domain: each round changes one half by a hash of the other, which can be undone."""
    low, high = number & jnp.uint32((1 << domain.bits) - 1), number >> domain.bits
    for turn in range(domain.rounds):
        key = key * jnp.uint32(747796405) + jnp.uint32(2891336453)
        factor = _mix(key) | jnp.uint32(1)
        if turn % 2 == 0:
            low = low ^ (high * factor + key) >> (32 - domain.bits)
        else:
            high = _shift(high, low * factor + key, domain.high)
    return high << domain.bits | low


def _shift(value: UInt32[Array, " any"], hashed: UInt32[Array, " any"], size: int) -> UInt32[Array, " any"]:
    """Move a value below `size` by a hash, one to one. The upper bits of a multiply-shift hash are the good ones."""
    if size & (size - 1) == 0:
        return value ^ hashed >> (33 - size.bit_length())
    # Scaling 16 bits to the size needs no division and stays within 32 bits, as sizes are at most 2**16.
    moved = value + ((hashed >> 16) * jnp.uint32(size) >> 16)
    return jnp.where(moved >= size, moved - size, moved)


def _mix(bits: UInt32[Array, " *any"]) -> UInt32[Array, " *any"]:
    """A one-to-one hash of 32 bits (`lowbias32` of C. Wellons' hash-prospector)."""
    bits = (bits ^ bits >> 16) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ bits >> 15) * jnp.uint32(0x846CA68B)
    return bits ^ bits >> 16
