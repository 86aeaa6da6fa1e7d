"""One second of services under CFS quotas, at the level of requests, in JAX and without a loop over requests.

With at most SLOTS arrivals per CFS period, the backlog at period starts follows W' = max(W + x, c), a max-plus affine
map, whose prefix composition is a cumulative sum and maximum.

Shapes: A services, K periods, J slots per period.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from edgewright.core.contracts import Array
from edgewright.scaling.model import CFS_PERIOD_S as PERIOD_S

PERIODS = 100  # of one step
SLOTS = 6  # arrivals a period can hold: at 200 requests/s more than six come in 0.45 % of periods


class Requests(NamedTuple):
    """The requests of one step. Slots >= count have offset PERIOD_S and size 0."""

    count: Array  # [A, K]
    offset_s: Array  # [J, A, K] from the period's start, sorted over J
    size_s: Array  # [J, A, K] CPU


class Served(NamedTuple):
    backlog_s: Array  # [A] at the end
    cpu_s: Array  # [A] used
    throttled: Array  # [A] share of periods
    arrived: Array  # [A]
    response_sum_s: Array  # [A] each at most the timeout
    late: Array  # [A] requests
    failed: Array  # [A] requests


def draw_requests(key: Array, rate_hz: Array, cpu_s: Array, cpu_cv: Array) -> Requests:
    """Poisson arrivals within each period, log-normal CPU times (the normal is a sum of four bytes, +-3.4 sigma)."""
    words = _random_words(key, (2 * SLOTS + 1, rate_hz.shape[0], PERIODS))
    mean = (rate_hz * PERIOD_S)[:, None]
    uniform = (words[0] >> 8).astype(jnp.float32) * 2.0**-24
    term = jnp.exp(-mean)
    cumulative, count = term, (uniform >= term).astype(jnp.float32)
    for n in range(1, SLOTS):  # inverse of the Poisson distribution, truncated
        term = term * mean / n
        cumulative = cumulative + term
        count = count + (uniform >= cumulative)
    live = _slots() < count
    offset = (words[1 : SLOTS + 1] >> 8).astype(jnp.float32) * (PERIOD_S * 2.0**-24)
    byte = words[SLOTS + 1 :]
    normal = ((byte & 255) + ((byte >> 8) & 255) + ((byte >> 16) & 255) + (byte >> 24)).astype(jnp.float32)
    sigma2 = jnp.log1p(cpu_cv**2)
    exponent = (jnp.log(cpu_s) - sigma2 / 2)[:, None] + jnp.sqrt(sigma2)[:, None] * ((normal - 510.0) / 147.8)
    return Requests(
        count,
        jnp.stack(_sort(list(jnp.where(live, offset, PERIOD_S)))),
        jnp.where(live, jnp.exp(exponent), 0.0),
    )


def serve(
    requests: Requests,
    backlog_s: Array,
    limit_cpu: Array,
    overhead_s: Array,
    cpu_s: Array,
    queue_limit: Array,
    slo_response_s: Array,
    timeout_s: Array,
) -> Served:
    """One second under limits float[A]; exact at the level of requests.

    With W the backlog at a period's start, X_j the work of its first j requests and u_j their offsets, a core
    without quota holds V_j = X_j - u_j + max(W, M_j) just after request j, M_j = max_{i<=j} (u_i - X_{i-1}).
    """
    count, offset, size = requests
    quota = (jnp.minimum(limit_cpu, 1.0) * PERIOD_S)[:, None]
    work, idle_until = [size[0]], [offset[0]]  # X_j, M_j
    for n in range(1, SLOTS):
        idle_until.append(jnp.maximum(idle_until[-1], jnp.where(n < count, offset[n] - work[n - 1], -1.0)))
        work.append(work[-1] + size[n])
    arrived_s = work[-1]
    leftover = jnp.where(count > 0, jnp.maximum(arrived_s - PERIOD_S + idle_until[-1], 0.0), 0.0)
    after = _backlogs(arrived_s - quota, leftover, backlog_s)
    start = jnp.concatenate([backlog_s[:, None], after[:, :-1]], axis=1)

    total, late, failed = jnp.zeros_like(start), jnp.zeros_like(start), jnp.zeros_like(start)
    for n in range(SLOTS):
        carried = work[n] + jnp.maximum(start - quota, idle_until[n] - PERIOD_S)  # left when its period ends
        ratio = carried / quota  # the tolerance is float32's: work that just fills a period must not need another
        whole = jnp.maximum(jnp.ceil(ratio * (1.0 - 4e-6) - 1e-4) - 1.0, 0.0)  # further periods before its last
        later = (PERIOD_S - offset[n]) + whole * (PERIOD_S - quota) + carried
        response = jnp.where(carried > 1e-7, later, work[n] - offset[n] + jnp.maximum(start, idle_until[n]))
        response = jnp.where(n < count, response + overhead_s[:, None], 0.0)
        total = total + jnp.minimum(response, timeout_s)
        late = late + (response > slo_response_s)
        failed = failed + (response >= timeout_s)
    # One complex sum instead of three: XLA would compute all of the above once per sum.
    sums = jax.lax.complex(total, late + _PACK * failed).sum(axis=1)
    total_failed = jnp.floor(sums.imag / _PACK)
    total_late = sums.imag - _PACK * total_failed

    refused = jnp.maximum(after[:, -1] / cpu_s - queue_limit, 0.0)
    busy = (after > 1e-7) & (start + arrived_s - after >= quota - 1e-6) & (quota < PERIOD_S - 1e-9)
    return Served(
        jnp.minimum(after[:, -1], cpu_s * queue_limit),
        jnp.maximum(backlog_s + arrived_s.sum(axis=1) - after[:, -1], 0.0),
        busy.mean(axis=1),
        count.sum(axis=1),
        sums.real,
        jnp.maximum(total_late, refused),
        jnp.maximum(total_failed, refused),
    )


_PACK = 1024.0  # more than the requests of a step: both counts fit in a float32's 24 bits


def _backlogs(x: Array, c: Array, first: Array) -> Array:
    """W after each period of W' = max(W + x, c), float[A, K], in two levels of ten (a scan would take 100 steps)."""
    services, block = x.shape[0], 10
    x, c = x.reshape(services, -1, block), c.reshape(services, -1, block)
    xs, cs = [x[..., 0]], [c[..., 0]]
    for n in range(1, block):
        xs.append(xs[-1] + x[..., n])
        cs.append(jnp.maximum(cs[-1] + x[..., n], c[..., n]))
    starts = [first]
    for n in range(x.shape[1] - 1):
        starts.append(jnp.maximum(starts[-1] + xs[-1][:, n], cs[-1][:, n]))
    start = jnp.stack(starts, axis=1)
    after = jnp.stack([jnp.maximum(start + a, b) for a, b in zip(xs, cs, strict=True)], axis=-1)
    return after.reshape(services, PERIODS)


def _slots() -> Array:
    return jnp.arange(SLOTS, dtype=jnp.float32)[:, None, None]


def _random_words(key: Array, shape: tuple[int, ...]) -> Array:
    """uint32 of that shape by hashing a counter with two words of the key.

    Seven times cheaper here than drawing them all by threefry. Mixing constants: C. Wellons, "Prospecting for
    hash functions" (lowbias32).
    """
    seed = jax.random.bits(key, (2,), jnp.uint32)
    counter = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return _mix(_mix(counter * jnp.uint32(0x9E3779B9) + seed[0]) ^ seed[1])


def _mix(x: Array) -> Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x21F0AAAD)
    x = (x ^ (x >> 15)) * jnp.uint32(0x735A2D97)
    return x ^ (x >> 15)


def _sort(values: list[Array]) -> list[Array]:
    """Sorting network for six arrays, elementwise (12 comparators, Knuth vol. 3, 5.3.4)."""
    values = list(values)
    network = [(0, 5), (1, 3), (2, 4), (1, 2), (3, 4), (0, 3), (2, 5), (0, 1), (2, 3), (4, 5), (1, 2), (3, 4)]
    for a, b in network:
        values[a], values[b] = jnp.minimum(values[a], values[b]), jnp.maximum(values[a], values[b])
    return values
