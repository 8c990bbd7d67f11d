"""The figure: ingress with one worker and with two that share the port (SO_REUSEPORT)."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.ingress.contender import Saturated, ServerUnderLoad
from benchmarks.ingress.load import CONNECTIONS
from benchmarks.ingress.servers import make_deployment, make_secret
from benchmarks.machine import Cores
from benchmarks.model import Comparison, Figure
from benchmarks.parts import Parts, make_prefix, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.processes import Process, listening
from benchmarks.rounds import Report, run_rounds
from benchmarks.several.cores import cores_for, cores_note
from benchmarks.several.starting import all_said
from kafka_broker import free_port

COUNTS = (1, 2)


async def measure_servers(parts: Parts, options: Options, report: Report) -> Figure:
    """Both at saturation, in turns. Raises MeasurementError."""
    cores = cores_for(max(COUNTS), parts.cores)
    figure = Figure(
        name="ingress-processes",
        title="Ingress with one and with two workers on one port",
        unit="requests/s",
        comparisons=(Comparison(_name(2), _name(1)),),
        notes=[
            f"closed loop, {CONNECTIONS} connections, shared out by the kernel; own CPU is of all processes together",
            cores_note(cores),
        ],
    )
    with ExitStack() as stack:
        servers = [await _start(stack, parts, cores, workers) for workers in COUNTS]
        await run_rounds(figure, [Saturated(server, options.seconds) for server in servers], rounds_of(options), report)
    return figure


async def _start(stack: ExitStack, parts: Parts, cores: Cores, workers: int) -> ServerUnderLoad:
    secret, port = make_secret(), free_port()
    urls = stack.enter_context(parts.database())
    environment = parts.environment(urls, prefix=make_prefix("several"), port=port)
    await make_deployment(settings_of(environment), secret)
    process = Process("service.cli", "serve", f"--workers={workers}", environment=environment, cores=cores.measured)
    stack.enter_context(process)
    await all_said([process], '"event":"ready"', times=workers)
    await listening(process, port)
    return ServerUnderLoad(_name(workers), process, port, secret, cores)


def _name(workers: int) -> str:
    return f"serve --workers {workers}"


def rounds_of(options: Options) -> int:
    """Enough for a ratio that has no target."""
    return min(3, options.rounds)


def _work(options: Options) -> Work:
    steps = rounds_of(options) * len(COUNTS)
    return Work(steps, 12 + steps * (options.seconds + 2))


INGRESS_PROCESSES = Plan(
    name="ingress-processes",
    title="webhooks a second with one and two workers",
    measure=measure_servers,
    work=_work,
)
