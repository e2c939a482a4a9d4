"""Looks after the library: a schedule starts it, again and again."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.contracts.knowledge import EmbedResult, RefreshResult, UpkeepInput

HEARTBEAT = timedelta(seconds=30)


@workflow.defn(name="library-upkeep")
class LibraryUpkeep:
    """Reads the sources again, then computes what is missing of the vectors."""

    @workflow.run
    async def run(self, given: UpkeepInput) -> EmbedResult:
        """Both steps, once."""
        refreshed: RefreshResult = await workflow.execute_activity(
            steps.REFRESH_LIBRARY,
            given,
            result_type=RefreshResult,
            start_to_close_timeout=steps.LONGEST_WORK,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=steps.UPKEEP_TRIES),
            summary="read every source again",
        )
        self._say(refreshed)
        embedded: EmbedResult = await workflow.execute_activity(
            steps.EMBED_LIBRARY,
            given,
            result_type=EmbedResult,
            start_to_close_timeout=steps.LONGEST_WORK,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=steps.UPKEEP_TRIES),
            summary="compute the vectors that are missing",
        )
        self._say(refreshed, embedded)
        return embedded

    def _say(self, refreshed: RefreshResult, embedded: EmbedResult | None = None) -> None:
        lines = [f"**Documents** {refreshed.changed} taken in, {refreshed.forgotten} forgotten"]
        if refreshed.unreadable or refreshed.sources_away:
            lines.append(f"**Not read** {refreshed.unreadable} documents, {refreshed.sources_away} sources away")
        if embedded is not None:
            lines.append(f"**Vectors** {embedded.embedded} computed, {embedded.missing} to come")
        workflow.set_current_details("\n\n".join(lines))
