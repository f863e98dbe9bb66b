"""Whom to ask next on the way to an id: the iterative lookup of Kademlia, among liars."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from swarm.proto.krpc import Addr, Contact

from .dht_id import BITS, is_bound, key_of, subnet
from .dht_table import K

ALPHA = 4
"""Queries on their way at once, slow ones not counted."""
MOST_LOOSE = K // 2
"""Of the closest nodes, so many may have ids that do not follow from their addresses (BEP 42)."""
MOST_CONTACTS = 128
"""Contacts kept, the closest; more than are ever asked."""
MOST_ASKED = 96
"""Queries of one lookup."""
MOST_TOLD = K
"""Contacts taken from one reply, the closest."""
MOST_DEAD = 3
"""Who names so many that do not answer, and none that does, is not believed any more."""
ANY_ID = b""
"""The id of a contact that may have any: an address to begin with."""


class State(Enum):
    """How far we are with a contact."""

    NEW = auto()
    ASKED = auto()
    SLOW = auto()
    ANSWERED = auto()
    LOST = auto()


@dataclass(slots=True, eq=False)
class Step:
    """A contact on the way. `tellers` are those who named it; nobody, if it was ours."""

    id: bytes
    addr: Addr
    distance: int
    bound: bool
    state: State = State.NEW
    token: bytes = b""
    tellers: list[Addr] = field(default_factory=list)


class Lookup:
    """One search for the nodes closest to an id, whoever puts themselves in its way.

    One contact of each address and subnet counts; of the closest, some must have ids bound to their
    address; a node that named only dead ones is not believed. It ends when the closest that can be found
    have answered.
    """

    def __init__(self, target: bytes) -> None:
        self.target = target
        self.asked = 0
        self._key = key_of(target)
        self._steps: list[Step] = []  # the closest first
        self._by_addr: dict[Addr, Step] = {}
        self._nets: set[str] = set()
        self._credit: dict[Addr, list[int]] = {}  # of who named others: dead ones, and live ones

    def add(self, contacts: Iterable[Contact], teller: Addr | None = None) -> None:
        """Contacts that may be on the way: our own, or those that `teller` named."""
        named = sorted(contacts, key=self._distance)
        for contact in named[:MOST_TOLD] if teller is not None else named:
            self._add(contact, teller)

    def _add(self, contact: Contact, teller: Addr | None) -> None:
        known = self._by_addr.get(contact.addr)
        if known is not None:
            if teller is None:
                known.tellers.clear()
            elif known.tellers and known.id == contact.id and len(known.tellers) < K:
                known.tellers.append(teller)
            return
        net = subnet(contact.addr[0])
        if net and net in self._nets:
            return
        bound = contact.id == ANY_ID or is_bound(contact.id, contact.addr[0])
        step = Step(contact.id, contact.addr, self._distance(contact), bound)
        if teller is not None:
            step.tellers.append(teller)
        self._nets.add(net)
        self._by_addr[contact.addr] = step
        insort(self._steps, step, key=lambda step: step.distance)
        if len(self._steps) > MOST_CONTACTS:
            far = next(step for step in reversed(self._steps) if step.state is State.NEW)
            self._steps.remove(far)
            del self._by_addr[far.addr]
            self._nets.discard(subnet(far.addr[0]))

    def _distance(self, contact: Contact) -> int:
        if contact.id == ANY_ID:
            return 1 << BITS
        return key_of(contact.id) ^ self._key

    def next(self) -> list[Step]:
        """Whom to ask now. Each has to be followed by `answered` or `lost`."""
        room = ALPHA - sum(step.state is State.ASKED for step in self._steps)
        steps = [step for step in self._front() if step.state is State.NEW]
        steps = steps[: max(0, min(room, MOST_ASKED - self.asked))]
        for step in steps:
            step.state = State.ASKED
        self.asked += len(steps)
        return steps

    @property
    def done(self) -> bool:
        """Whether nobody is left to be asked or waited for."""
        if any(step.state is State.ASKED for step in self._steps):
            return False
        front = self._front()
        waiting = any(step.state is State.SLOW for step in self._steps)
        if waiting and sum(step.state is State.ANSWERED for step in front) < K:
            return False
        return self.asked >= MOST_ASKED or all(step.state is not State.NEW for step in front)

    @property
    def closest(self) -> list[Step]:
        """The closest nodes that have answered, closest first."""
        return [step for step in self._front() if step.state is State.ANSWERED]

    def answered(
        self, step: Step, node_id: bytes, contacts: Iterable[Contact], token: bytes = b""
    ) -> bool:
        """The reply of a node; False if it has another id than was said of it, and nothing counts."""
        if step.id not in (ANY_ID, node_id):
            self.lost(step)
            return False
        if step.id == ANY_ID:
            self._steps.remove(step)
            step.id = node_id
            step.distance = key_of(node_id) ^ self._key
            step.bound = is_bound(node_id, step.addr[0])
            insort(self._steps, step, key=lambda step: step.distance)
        step.state, step.token = State.ANSWERED, token
        for teller in step.tellers:
            self._credit.setdefault(teller, [0, 0])[1] += 1
        self.add(contacts, step.addr)
        return True

    def slow(self, step: Step) -> None:
        """A node takes its time: somebody else is asked beside it."""
        if step.state is State.ASKED:
            step.state = State.SLOW
            self._blame(step, 1)

    def lost(self, step: Step) -> None:
        """A node did not answer, or made no sense."""
        if step.state is State.ASKED:
            self._blame(step, 1)
        step.state = State.LOST

    def _blame(self, step: Step, by: int) -> None:
        for teller in step.tellers:
            self._credit.setdefault(teller, [0, 0])[0] += by

    def _believed(self, step: Step) -> bool:
        if not step.tellers or step.state is State.ANSWERED:
            return True
        for teller in step.tellers:
            dead, live = self._credit.get(teller, (0, 0))
            if live or dead < MOST_DEAD:
                return True
        return False

    def _front(self) -> list[Step]:
        """The closest that are not out of it."""
        front: list[Step] = []
        loose = 0
        for step in self._steps:
            if step.state in (State.LOST, State.SLOW) or not self._believed(step):
                continue
            if not step.bound:
                if loose == MOST_LOOSE:
                    continue
                loose += 1
            front.append(step)
            if len(front) == K:
                break
        return front
