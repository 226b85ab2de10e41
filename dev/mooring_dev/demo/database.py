"""The database of the story: a writer whose rows prove what was kept.

Each row holds the MD5 of its own number and of the row before, so a missing, changed or reordered
row shows in one query. The writer says a number only after its commit was acknowledged.
"""

import secrets
import subprocess
from dataclasses import dataclass

from mooring_dev import kubectl
from mooring_dev.demo import stage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (n bigint PRIMARY KEY, chain text NOT NULL);
INSERT INTO ledger VALUES (0, md5('mooring')) ON CONFLICT DO NOTHING;
"""
_APPEND = """
INSERT INTO ledger SELECT n + 1, md5((n + 1)::text || chain) FROM ledger ORDER BY n DESC LIMIT 1
RETURNING n;
"""
_BROKEN = """
SELECT count(*) FROM ledger l LEFT JOIN ledger p ON p.n = l.n - 1
WHERE l.n > 0 AND (p.n IS NULL OR l.chain <> md5(l.n::text || p.chain));
"""
_WRITER = """
echo $$ > /tmp/writer.pid
while :; do
  n=$(psql -h /tmp -U postgres -qAtc "$APPEND" 2>/dev/null)
  [ -n "$n" ] && echo "$n" > /tmp/acknowledged
done
"""


@dataclass(frozen=True)
class Database:
    """PostgreSQL in one pod of the story.

    Attributes:
        cluster: kubectl for the cluster.
        pod: The pod's name.
    """

    cluster: kubectl.Kubectl
    pod: str

    def query(self, sql: str) -> str:
        """Runs SQL in the pod and returns the bare result."""
        return self._execute(
            "psql", "-h", "/tmp", "-U", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql
        )

    def prepare(self) -> None:
        """Makes the table."""
        self.query(_SCHEMA)

    def append(self, rows: int) -> None:
        """Writes rows, one commit each."""
        self.query(
            "DO $$ BEGIN FOR i IN 1.." + str(rows) + " LOOP "
            + _APPEND.replace("RETURNING n;", ";") + " COMMIT; END LOOP; END $$;"
        )  # fmt: skip

    def start_writer(self) -> subprocess.Popen[bytes]:
        """Starts a writer in the pod that commits row after row until it is stopped."""
        return subprocess.Popen(
            [
                str(self.cluster.binary), f"--kubeconfig={self.cluster.kubeconfig}",
                "exec", "-n", stage.NAMESPACE, self.pod, "--",
                "env", f"APPEND={_APPEND}", "sh", "-c", _WRITER,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop_writer(self, writer: subprocess.Popen[bytes]) -> None:
        """Stops the writer in the pod."""
        self._execute("sh", "-c", "kill $(cat /tmp/writer.pid)")
        writer.terminate()
        writer.wait(timeout=10)

    def acknowledged(self) -> int:
        """Returns the last row number whose commit the writer has seen acknowledged."""
        printed = self._execute("sh", "-c", "cat /tmp/acknowledged 2>/dev/null || echo 0").strip()
        return int(printed or 0)

    def last_row(self) -> int:
        """Returns the highest row number."""
        return int(self.query("SELECT max(n) FROM ledger;"))

    def broken_rows(self) -> int:
        """Returns how many rows do not follow from the row before."""
        return int(self.query(_BROKEN))

    def _execute(self, *command: str) -> str:
        return self.cluster.run("exec", "-n", stage.NAMESPACE, self.pod, "--", *command)


def new_repository_key() -> str:
    """Makes a repository key for the story's Secret: 32 random bytes in hexadecimal."""
    return secrets.token_hex(32)
