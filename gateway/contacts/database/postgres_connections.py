"""The connections that are held to PostgreSQL, their prepared statements, and what the driver's errors mean.

A pool that resets a connection at each return costs more than the look-up itself (facts: performance); these are left
as they are, for a transaction ends before its connection is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg

from gateway.errors import Code, Outage, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.contacts.database.rows import Row

PATIENCE = 5.0
"""Seconds, for a free connection and for a new one."""

_STATEMENT_SECONDS = 10.0
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

_RACES = (asyncpg.UniqueViolationError, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_LOSSES = (
    OSError,  # TimeoutError is one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.ReadOnlySQLTransactionError,  # the server has become a replica
)
_REFUSALS = (
    ValueError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedTableError,
    asyncpg.DuplicateTableError,
)


class RunAgain(Outage):
    """A race or the connection was lost and nothing was kept: the same may succeed on another try."""


class Held:
    """One connection and its prepared statements."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._statements: dict[str, asyncpg.prepared_stmt.PreparedStatement[Any]] = {}
        self.pid: int = connection.get_server_pid()

    @property
    def lost(self) -> bool:
        """Whether it has ended, by whichever side."""
        return self._connection.is_closed()

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """Run a statement; `RunAgain`, `Outage`, or `ValueError` for what cannot be bound."""
        try:
            statement = self._statements.get(sql)
            if statement is None:
                statement = self._statements[sql] = await self._connection.prepare(sql)
            return await statement.fetch(*arguments)
        except ValueError:  # asyncpg's own DataError is one, and names what is wrong with an argument
            raise ValueError("a value that PostgreSQL cannot keep") from None
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.drop()
            raise

    async def fetch_once(self, seconds: float, sql: str, *arguments: Any) -> Sequence[Row]:
        """The same for a statement whose words do not come again; `TimeoutError` when it takes longer than `seconds`.

        The driver keeps the last hundred of them; the server is told to stop what takes too long.
        """
        try:
            return await self._connection.fetch(sql, *arguments, timeout=seconds)
        except (ValueError, TimeoutError):
            raise
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.drop()
            raise

    async def command(self, sql: str) -> str:
        """Run a command without parameters and return its status."""
        try:
            return await self._connection.execute(sql)
        except Exception as error:
            raise self._translated(error) from error
        except BaseException:
            self.drop()
            raise

    async def roll_back(self) -> None:
        """Undo the transaction, or let go of the connection, which does the same."""
        if not self.lost:
            with contextlib.suppress(Outage):
                await self.command("ROLLBACK")

    def drop(self) -> None:
        """Close the connection at once; nobody knows what state it is in."""
        self._connection.terminate()

    async def close(self) -> None:
        """Say goodbye to the server."""
        await _close(self._connection)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, _RACES):
            return RunAgain(Code.STORE_UNAVAILABLE, type(error).__name__)
        if isinstance(error, _LOSSES):
            self.drop()
            # A statement that took too long would take as long again.
            kind = Outage if isinstance(error, TimeoutError | asyncpg.QueryCanceledError) else RunAgain
            return kind(Code.STORE_UNAVAILABLE, f"the connection was lost: {type(error).__name__}")
        if isinstance(error, asyncpg.PostgresError):
            return Outage(Code.STORE_UNAVAILABLE, f"{type(error).__name__} ({error.sqlstate})")
        return error


class Connections:
    """The connections that are held: made when they are needed, at most `limit`, the one used last is used next."""

    def __init__(self, url: str, limit: int) -> None:
        self._url = url
        self._limit = limit
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Held] = []
        self._open = False
        self._made: dict[int, Held] = {}

    def open(self) -> None:
        """From now on there is something to take."""
        self._open = True

    def has(self, pid: int) -> bool:
        """Whether one of them is served by this process of the server, whose numbers come again."""
        held = self._made.get(pid)
        return held is not None and not held.lost

    async def take(self, *, fresh: bool = False) -> Held:
        """A connection for the caller alone; `Outage` when there is none to be had.

        `fresh` asks for a new one: where one was lost, those that lay idle beside it may be lost as well.
        """
        await self._acquire()
        try:
            if fresh and self._idle:
                self._forget(self._idle.pop(0))
            return (None if fresh else self._reuse()) or await self._make()
        except BaseException:
            self._free.release()
            raise

    def give_back(self, held: Held) -> None:
        """End the use of a connection."""
        if held.lost:
            self._forget(held)
        else:
            self._idle.append(held)
        self._free.release()

    async def close(self) -> None:
        """Let those finish that hold a connection, for a while, and close all."""
        self._open = False
        taken = 0
        with contextlib.suppress(Outage):
            while taken < self._limit:
                await self._acquire()
                taken += 1
        while self._idle:
            await self._idle.pop().close()
        for held in list(self._made.values()):
            self._forget(held)
        for _ in range(taken):
            self._free.release()

    def _reuse(self) -> Held | None:
        while self._idle:
            held = self._idle.pop()
            if not held.lost:
                return held
            self._forget(held)
        return None

    async def _make(self) -> Held:
        if not self._open:
            raise Outage(Code.STORE_UNAVAILABLE, "the store is not open")
        held = Held(await _connect(self._url, statement_seconds=_STATEMENT_SECONDS))
        self._made[held.pid] = held
        return held

    def _forget(self, held: Held) -> None:
        held.drop()
        self._made.pop(held.pid, None)

    async def _acquire(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._free.acquire()
        except TimeoutError as error:
            raise Outage(Code.STORE_UNAVAILABLE, "all connections are busy") from error


async def _connect(url: str, *, statement_seconds: float | None) -> asyncpg.Connection[Any]:
    """A connection whose commits are durable; `Outage`, or `StoreUnusable` when the server or the URL refuses."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=PATIENCE,
            command_timeout=statement_seconds,
            server_settings={"application_name": "identity-gateway"},
        )
    except ValueError:  # the driver's words may quote a piece of the password
        raise StoreUnusable("the PostgreSQL URL cannot be understood: check host, port, options and escapes") from None
    except _REFUSALS as error:
        raise StoreUnusable(f"PostgreSQL refuses: {error}") from error
    except (*_LOSSES, asyncpg.PostgresError) as error:
        raise Outage(Code.STORE_UNAVAILABLE, f"PostgreSQL cannot be reached: {type(error).__name__}") from error
    try:
        await connection.execute(_DURABLE)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, (*_LOSSES, asyncpg.PostgresError)):
            raise Outage(Code.STORE_UNAVAILABLE, f"PostgreSQL cannot be used: {type(error).__name__}") from error
        raise
    return connection


async def _close(connection: asyncpg.Connection[Any]) -> None:
    try:
        await connection.close(timeout=1)
    except (*_LOSSES, asyncpg.PostgresError):
        connection.terminate()


@contextlib.asynccontextmanager
async def own_connection(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection for one purpose; the driver's errors come out as `Outage` and `StoreUnusable`."""
    connection = await _connect(url, statement_seconds=None)
    try:
        yield connection
    except _REFUSALS as error:
        raise StoreUnusable(f"this is no contact store, or not one that we may use: {error}") from error
    except (*_LOSSES, asyncpg.PostgresError) as error:
        raise Outage(Code.STORE_UNAVAILABLE, type(error).__name__) from error
    finally:
        await _close(connection)
