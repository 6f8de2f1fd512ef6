"""What the routes work with, as one object that the application holds."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from service.limits import ServiceLimits
from service.meters import Meters
from service.model_watch import ModelWatch
from service.slots import Slots


@dataclass(frozen=True)
class Engine:
    limits: ServiceLimits
    meters: Meters
    slots: Slots
    watch: ModelWatch

    @classmethod
    def of(cls, limits: ServiceLimits) -> "Engine":
        meters = Meters()
        return cls(limits, meters, Slots(limits, meters), ModelWatch(limits, meters))


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


HasEngine = Annotated[Engine, Depends(_engine)]
