"""How much is worked on at once, how much may wait for it, and how long."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from service.limits import ServiceLimits
from service.meters import Meters
from service.refusals import refusal

T = TypeVar("T")


class Slots:
    """So many threads as may work at once, and a bounded number of requests before them.

    A thread cannot be stopped: work whose time is over keeps its slot until it has really ended, so that there is never
    more of it than slots.
    """

    def __init__(self, limits: ServiceLimits, meters: Meters) -> None:
        self._limits, self._meters = limits, meters
        self._num_inside = 0
        self._free = asyncio.Semaphore(limits.concurrency)
        self._threads = ThreadPoolExecutor(limits.concurrency, thread_name_prefix="fer-work")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, from its first byte on. Raises Refusal (429) when there is none."""
        allowed = self._limits.concurrency + self._limits.queue
        if self._num_inside >= allowed:
            raise refusal(
                429, "too_many_requests", came=f"a request beside {self._num_inside} others",
                expected=f"at most {allowed} at once", to_do="Wait for the seconds in Retry-After and send it again.",
            )  # fmt: skip
        self._num_inside += 1
        self._meters.inside.set(self._num_inside)
        try:
            yield
        finally:
            self._num_inside -= 1
            self._meters.inside.set(self._num_inside)

    async def work(self, task: Callable[[float], T]) -> T:
        """What `task` returns, computed in a thread. It is given the time, of time.monotonic, at which nobody waits any
        more. Raises Refusal: 503 where no slot became free in time, 504 where the work took longer.
        """
        seconds = self._limits.timeout_seconds
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise refusal(
                503, "no_slot_in_time", came=f"a request that waited for {seconds:g} s",
                expected="a slot in that time", to_do="The service is overloaded: send less, or raise the concurrency.",
            ) from None  # fmt: skip
        future = asyncio.get_running_loop().run_in_executor(self._threads, task, deadline)
        self._meters.working.inc()
        future.add_done_callback(self._freed)
        try:
            return await asyncio.wait_for(asyncio.shield(future), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise refusal(
                504, "work_took_too_long", came="a request that is still worked on",
                expected=f"waiting and work within {seconds:g} s",
                to_do="Send a smaller picture or batch, or raise FER_SERVICE_TIMEOUT_SECONDS.",
            ) from None  # fmt: skip

    def close(self) -> None:
        """Take no more work; what is under way ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _freed(self, future: "asyncio.Future[Any]") -> None:
        self._free.release()
        self._meters.working.dec()
        if not future.cancelled():
            future.exception()  # asked for, so that asyncio does not complain where nobody waits any more
