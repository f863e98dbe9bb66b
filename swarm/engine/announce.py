"""When to ask which tracker: tiers (BEP 12), intervals and events (BEP 3), refusals (BEP 31)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from random import Random

from swarm.proto.tracker import NUMWANT, Event, TrackerReply, redact

MIN_INTERVAL = 60.0
MAX_INTERVAL = 12 * 3600.0
"""Whatever a tracker says, the time between two announces stays within these."""
EARLY_INTERVAL = 300.0
"""How soon we may ask early where the tracker gave no minimum."""
BACKOFF_BASE = 15.0
BACKOFF_MAX = 3600.0
RETRY_MAX = 24 * 3600.0
SCHEMES = ("http://", "https://", "udp://")


@dataclass(frozen=True, slots=True)
class Announce:
    """One announce to be made now. `tracker_id` goes back to the tracker that gave it."""

    url: str
    event: Event
    numwant: int
    tracker_id: bytes | None = None


@dataclass(slots=True)
class TrackerStatus:
    """One tracker, for display. `next` is when it may be asked again; None while it is asked.

    It is infinite for a tracker that told us never to come back. `name` is safe to show.
    """

    url: str
    tier: int
    next: float | None = 0.0
    error: str | None = None
    seeds: int | None = None
    leechers: int | None = None

    @property
    def name(self) -> str:
        """The URL without its secrets."""
        return redact(self.url)


@dataclass(slots=True, eq=False)
class _Tracker:
    status: TrackerStatus
    ready: float = 0.0  # not before this: it failed, or said so
    allowed: float = 0.0  # nor before this without an event: its min interval
    fails: int = 0
    asked: Event | None = None  # the event of the announce under way
    started: bool = False  # it answered our `started`
    owed: Event = ""  # `completed`, or `stopped`, that it has yet to hear
    tracker_id: bytes | None = None


class Announcer:
    """Decides when and whom to ask for one torrent. All times are seconds.

    A round asks one tracker after the other, tier by tier, until one answers; the next round
    comes an interval later. Events that a tracker is owed go out beside the rounds. `floor` is the
    least interval that is accepted: lower it for a tracker of one's own.
    """

    def __init__(
        self,
        tiers: Sequence[Sequence[str]],
        rng: Random,
        *,
        numwant: int = NUMWANT,
        floor: float = MIN_INTERVAL,
    ) -> None:
        self.partial = False
        """Whether we are a partial seed, which every announce of no other event says (BEP 21)."""
        self._rng = rng
        self._numwant = numwant
        self._floor = floor
        self._tiers: list[list[_Tracker]] = []
        self._by_url: dict[str, _Tracker] = {}
        for urls in tiers:
            tier = []
            for url in urls:
                if url.lower().startswith(SCHEMES) and url not in self._by_url:
                    tracker = _Tracker(TrackerStatus(url, len(self._tiers)))
                    self._by_url[url] = tracker
                    tier.append(tracker)
            if tier:
                rng.shuffle(tier)
                self._tiers.append(tier)
        self._tried: set[str] = set()  # in this round
        self._round = inf  # when the round begins
        self._stopping = False

    @property
    def trackers(self) -> tuple[TrackerStatus, ...]:
        """Every tracker, in the order in which they are tried."""
        return tuple(tracker.status for tracker in self._in_order())

    def start(self, now: float) -> None:
        """The torrent runs from now on: every tracker hears `started` first."""
        self._stopping = False
        self._begin_round(now)
        for tracker in self._in_order():
            tracker.started, tracker.owed, tracker.asked = False, "", None
            if tracker.ready == inf:
                tracker.ready = now

    def complete(self, now: float) -> None:
        """The download finished in this session: who knows us as a leecher hears `completed`."""
        for tracker in self._in_order():
            if tracker.started or tracker.asked == "started":
                tracker.owed = "completed"

    def stop(self, now: float) -> None:
        """No more rounds; the trackers that answered `started` hear `stopped`, once."""
        self._stopping = True
        self._round = inf
        for tracker in self._in_order():
            tracker.owed = "stopped" if tracker.started else ""

    def more_peers(self, now: float) -> None:
        """Bring the next round forward, as far as the tracker's min interval lets us."""
        if self._round < inf:
            self._round = min(self._round, now)

    def poll(self, now: float) -> list[Announce]:
        """The announces to make now. Each must be followed by `replied` or `failed`."""
        due = [t for t in self._in_order() if self._owes(t) and self._owed_at(t) <= now]
        if self._round <= now:
            tracker, when = self._candidate(now)
            if tracker is None:
                # All have failed: the next round begins when the first of them may be asked again.
                self._tried.clear()
                self._round = max(now, when)
                if when <= now:
                    tracker, when = self._candidate(now)
            if tracker is not None and when <= now and tracker not in due:
                due.append(tracker)
                for passed in takewhile(lambda other: other is not tracker, self._in_order()):
                    self._tried.add(
                        passed.status.url
                    )  # even if it is ready before this one answers
        return [self._ask(tracker) for tracker in due]

    def replied(self, url: str, reply: TrackerReply, now: float) -> None:
        """A tracker answered. Ends the round; the tracker moves to the front of its tier."""
        tracker = self._by_url.get(url)
        if tracker is None or tracker.asked is None:
            return
        event, tracker.asked = tracker.asked, None
        if event == "stopped":
            return
        tracker.started = tracker.started or event == "started"
        if self._stopping:
            tracker.owed = "stopped" if tracker.started else ""
        interval = min(max(float(reply.interval), self._floor), MAX_INTERVAL)
        minimum = min(interval, EARLY_INTERVAL)
        if reply.min_interval is not None:
            minimum = min(max(float(reply.min_interval), self._floor), MAX_INTERVAL)
        interval = max(interval, minimum)
        tracker.fails = 0
        tracker.ready = now
        tracker.allowed = now + minimum
        tracker.tracker_id = reply.tracker_id or tracker.tracker_id
        status = tracker.status
        status.next, status.error = now + interval, None
        status.seeds, status.leechers = reply.seeds, reply.leechers
        tier = next(tier for tier in self._tiers if tracker in tier)
        tier.remove(tracker)
        tier.insert(0, tracker)
        if not self._stopping:
            self._begin_round(now + interval)

    def failed(self, url: str, now: float, retry_in: float | None = None, reason: str = "") -> None:
        """A tracker refused or did not answer. `retry_in` is what it asked for; infinite: never."""
        tracker = self._by_url.get(url)
        if tracker is None or tracker.asked is None:
            return
        event, tracker.asked = tracker.asked, None
        if event == "stopped":
            return
        if event == "completed":
            tracker.owed = "completed"
        elif not tracker.started:
            tracker.owed = ""
        if retry_in is None:
            retry_in = min(BACKOFF_MAX, BACKOFF_BASE * 2.0 ** min(tracker.fails, 30))
            retry_in *= self._rng.uniform(0.75, 1.0)
        elif retry_in < inf:
            retry_in = min(max(retry_in, self._floor), RETRY_MAX)
        tracker.fails += 1
        tracker.ready = now + retry_in
        tracker.status.next, tracker.status.error = tracker.ready, reason or "no answer"
        if self._stopping:
            tracker.owed = "stopped" if tracker.started else ""

    def deadline(self) -> float | None:
        """When `poll` has something to say next; None if that depends on somebody else."""
        times = [self._owed_at(t) for t in self._in_order() if self._owes(t)]
        if self._round < inf:
            times.append(max(self._round, self._candidate(self._round)[1]))
        soonest = min(times, default=inf)
        return None if soonest == inf else soonest

    def _in_order(self) -> list[_Tracker]:
        return [tracker for tier in self._tiers for tracker in tier]

    def _begin_round(self, when: float) -> None:
        self._tried.clear()
        self._round = when

    def _owes(self, tracker: _Tracker) -> bool:
        """Whether this tracker should hear an event that can be sent now."""
        if tracker.owed == "stopped":
            return tracker.asked != "stopped"
        return bool(tracker.owed) and tracker.started and tracker.asked is None

    @staticmethod
    def _owed_at(tracker: _Tracker) -> float:
        return 0.0 if tracker.owed == "stopped" else tracker.ready

    def _candidate(self, now: float) -> tuple[_Tracker | None, float]:
        """Whose turn it is, and from when; with nobody left, when some tracker is ready again.

        Those that failed are passed over; one that is being asked, or that only wants to be left
        alone for a while, is waited for.
        """
        for tracker in self._in_order():
            if tracker.asked is not None:
                return tracker, inf
            if tracker.status.url not in self._tried and tracker.ready <= now:
                return tracker, tracker.allowed if tracker.started else tracker.ready
        return None, min((t.ready for t in self._in_order()), default=inf)

    def _ask(self, tracker: _Tracker) -> Announce:
        event: Event = tracker.owed if tracker.started else "started"
        if not event and self.partial:
            event = "paused"
        tracker.asked = event
        tracker.owed = ""
        tracker.status.next = None
        if event == "stopped":
            tracker.started = False
        else:
            self._tried.add(tracker.status.url)
        numwant = 0 if event == "stopped" else self._numwant
        return Announce(tracker.status.url, event, numwant, tracker.tracker_id)
