"""How busy the machine is while a run works."""

from collections.abc import Callable, Mapping
from typing import Any


def system_monitor(
    log: Callable[[Mapping[str, Any], int], None], run_id: str | None, *, resume: bool, uri: str
) -> Any:
    """MLflow's monitor of the machine, which here hands its numbers to ``log``.

    On its own it writes to the store itself, and ends with the first request that fails.

    Args:
        log: takes numbers by their names, and how manieth they are.
        run_id: of the run in MLflow.
        resume: the run goes on.
        uri: where it is recorded.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    class Monitor(SystemMetricsMonitor):
        def monitor(self) -> None:
            while not self._shutdown_event.wait(self.sampling_interval):
                self.collect_metrics()
                self.publish_metrics(self.aggregate_metrics())

        def publish_metrics(self, metrics: dict[str, float]) -> None:
            log({f"system/{name}": value for name, value in metrics.items()}, self._logging_step)
            self._logging_step += 1
            for monitor in self.monitors:
                monitor.clear_metrics()

        def stop(self) -> None:
            self._shutdown_event.set()
            if self._process is not None:
                self._process.join()
            # A run shorter than the interval has its numbers too.
            self.collect_metrics()
            self.publish_metrics(self.aggregate_metrics())

    return Monitor(run_id, resume_logging=resume, tracking_uri=uri)
