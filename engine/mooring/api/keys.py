"""Every label, annotation, finalizer and name that Mooring writes into a cluster, in one place.

A key that two processes must agree on is only ever spelled here, so a rename is one line and a
reader finds all of them. Kubernetes' own keys that Mooring reads or sets are listed last.
"""

GROUP = "mooring.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "mooring"

DRIVER = "csi.mooring.dev"
TOPOLOGY_NODE = "topology.mooring.dev/node"

NAMESPACE = "mooring-system"
CONFIG_MAP = "mooring-config"
"""The administrator's settings: pools and the list of backup folders."""
CONFIG_FOLDERS_KEY = "folders.yaml"
CONFIG_AGENT_KEY = "agent.yaml"
OPERATOR_LEASE = "mooring-operator"
OPERATOR_SERVICE_ACCOUNT = "mooring-operator"
CONTROLLER_SERVICE_ACCOUNT = "mooring-csi-controller"
NODE_SERVICE_ACCOUNT = "mooring-csi-node"
TOKEN_AUDIENCE = "mooring.dev"  # noqa: S105 - an audience, not a secret
AGENT_PORT = 9750
SIGNER_PORT = 9751
DEFAULT_STORAGE_CLASS = "mooring"

# Labels of Mooring's own objects.
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "mooring-operator"
NAME = "app.kubernetes.io/name"
NAME_VALUE = "mooring"
COMPONENT = "app.kubernetes.io/component"
COMPONENT_NODE = "node"
VOLUME_CLAIM = f"{GROUP}/volume-claim"
"""On a PVC: the VolumeClaim of the same namespace that it belongs to."""
OWNER_UID = f"{GROUP}/owner-uid"
"""On a child object: the uid of the object that it was made for."""
ROLE = f"{GROUP}/role"
"""On a child object: what it is for, for example `backup`, `restore` or `probe`."""
NODE_LABEL = f"{GROUP}/node"
"""On a Volume: the node that holds its bytes."""
UNPROTECTED = f"{GROUP}/unprotected"
"""On a PVC without a backup as recent as it should be: why, in a word."""
BACKUP_SCHEDULE = f"{GROUP}/backup-schedule"
"""On a Backup: name of the BackupSchedule that made it; `owner-uid` says which of that name."""
BACKUP_RUN = f"{GROUP}/run"
"""On a Backup: name of the run that it belongs to."""

# Annotations.
RUN_NOW = f"{GROUP}/run-now"
"""On a BackupSchedule: name of a run that is wanted at once; the same name again does nothing."""
RETIRED = f"{GROUP}/retired"
"""On a Backup that is deleted with its point in time: why its schedule's retention keeps it not."""
RPO = f"{GROUP}/rpo"
"""On a PVC, a VolumeClaim or a StorageClass: how old the newest backup may be, or `none`."""
OWNER = f"{GROUP}/owner"
"""On a child object: `Kind/namespace/name` of the object that it was made for; for people."""
PLACEMENT_SET_AT = f"{GROUP}/placement-set-at"
"""On a PVC: when Mooring last chose its node (RFC 3339)."""
PLACEMENT_REASON = f"{GROUP}/placement-reason"
"""On a PVC: why its volume is on its node, in words."""
RESTORE_UID = f"{GROUP}/restore-uid"
"""On a PVC: the Restore that made it."""
POPULATED_FROM = f"{GROUP}/populated-from"
"""On a PV: which backup its content came from."""
POPULATE_NODE = f"{GROUP}/populate-node"
"""On a PVC being restored: the node where its volume is reserved."""
POPULATED = f"{GROUP}/populated"
"""On a PVC: its own uid, once its volume is filled, verified and synced: the mover's word."""
POPULATE_FAILED = f"{GROUP}/populate-failed"
"""On a PVC: `<its uid> Reason: message` of the mover that gave up."""
RELOCATING = f"{GROUP}/relocating"
"""On a Volume whose pool came to another node: the PersistentVolume that is being made anew."""
PROBED_SPEC = f"{GROUP}/probed"
"""On a probe Job: the generation and key version that it looked at."""
LISTED_AFTER = f"{GROUP}/listed-after"
"""On a listing Job: the backup behind which its page begins, and for which request."""
LIST = f"{GROUP}/list"
"""On a BackupRepository: whenever its value changes, the repository is listed again."""
IMPORTED = f"{GROUP}/imported"
"""On a Backup that was found in a repository, not made here: its id there."""

# Finalizers.
FINALIZER = f"{GROUP}/cleanup"
"""On Mooring's own kinds: something outside the object has to be put away first."""
POPULATE_FINALIZER = f"{GROUP}/populate"
"""On a PVC while a restore fills it."""

# Roles of child objects.
ROLE_BACKUP = "backup"
ROLE_CHANGES = "changes"
ROLE_RESTORE = "restore"
ROLE_PROBE = "probe"
ROLE_FORGET = "forget"
ROLE_LIST = "list"
ROLE_REPOSITORY = "repository"

# Kubernetes' own.
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
HOSTNAME_LABEL = "kubernetes.io/hostname"
JOB_NAME = "batch.kubernetes.io/job-name"

MOVER_USER_ID = 65532
MOVER_GROUP_ID = 65532
"""Movers run as this user and group; devices and folders published to them belong to it."""
REPOSITORY_PATH = "/repository"
"""Where a mover finds the repository's folder."""
MOVER_SPEC_PATH = "/etc/mooring/spec/spec.json"
KEY_PATH = "/etc/mooring/key/key"
CREDENTIALS_PATH = "/etc/mooring/credentials"
CA_BUNDLE_PATH = "/etc/mooring/spec/ca.pem"
CHANGES_PATH = "/changes/changes"
"""Where a mover finds the list of what changed in its device; see `planning.change_lists`."""
KEY_SECRET_ENTRY = "key"  # noqa: S105 - the name of an entry, not a secret
DEVICE_PATH = "/dev/mooring-volume"
"""Where a mover finds the block device it reads or fills."""
