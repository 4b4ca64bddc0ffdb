# long: every table in one place, as migrations make them
"""The tables. Only `entries` is the ledger; everything else is derived from it, keys, or state between two entries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData()

Number = BigInteger().with_variant(Integer, "sqlite")
"""64 bits on either engine; SQLite's primary key is its row's number only if it is called INTEGER."""


# The ledger: bodies, and what is asked of them most. On PostgreSQL partitioned by month, so that old months can be
# moved.
entries = Table(
    "entries",
    metadata,
    Column("idx", Number, primary_key=True, autoincrement=False),
    Column("month", Integer, nullable=False),
    # The disclosure, consent or act that the entry belongs to.
    Column("request", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("caller", Text),
    Column("recipient", Text),
    Column("time", Text, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# In which blocks of entries each value of a column occurs. Written when the tree grows, so that appending need not
# wait for it.
terms = Table(
    "terms",
    metadata,
    # In the order of bytes, whatever the order of the database's language is.
    Column("term", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("block", Number, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# How far the catalogue came: what entries say beyond their columns stands in `terms` for each block that has one, and
# in `counts`. `zone` is the operator's, in whole hours east of UTC: legal days begin at midnight there. `routes` is 0
# where months lay in files when routes came into the counts: they cannot be counted again, and hold none.
catalogued = Table(
    "catalogued",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Number, nullable=False),
    Column("zone", Integer, nullable=False),
    Column("routes", Integer, nullable=False),
)

# Months that lay in files before the catalogue came to them.
uncatalogued = Table(
    "uncatalogued",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),
)

# How many of what, by legal day: figures are sums of a few rows, however many entries there are.
counts = Table(
    "counts",
    metadata,
    Column("what", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("day", Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("n", Number, nullable=False),
    sqlite_with_rowid=False,
)

# Disclosures in the catalogue of which the last word is not said, so that it can be counted where they are: of a
# handover a row for each kind of its rows, `fields` being the paths that left as JSON, and no block.
concluding = Table(
    "concluding",
    metadata,
    Column("disclosure", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    # Empty where counts hold no routes.
    Column("operation", Text, primary_key=True),
    Column("fields", Text, primary_key=True),
    Column("block", Number),
    Column("n", Number, nullable=False),
    sqlite_with_rowid=False,
)

# How many entries there are: the counter that their indexes are taken from.
tree = Table(
    "tree",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Number, nullable=False),
    Column("last_time", Text, nullable=False),
)

# How far the Merkle tree has grown over them.
integrated = Table(
    "integrated",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Number, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

tiles = Table(
    "tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Number, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("note", LargeBinary, nullable=False),
)

# Months whose bodies were moved to files.
archives = Table(
    "archives",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("first", Number, nullable=False),
    Column("last", Number, nullable=False),
    Column("entries", Number, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("file", Text, nullable=False),
)

# Disclosures of which nobody knows yet what came of them: state `open` or `unknown`.
unsettled = Table(
    "unsettled",
    metadata,
    Column("disclosure", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("gateway", Number, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Text, nullable=False),
    Index("unsettled_subject", "subject"),
)

# Answers that are evidence, as they came, sealed under their subject's key.
evidence = Table(
    "evidence",
    metadata,
    Column("disclosure", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("evidence_subject", "subject"),
)

# Disclosures whose answer comes later: what it takes to fetch and conclude it, sealed under the subject's key. State
# `awaiting`, or `confirming` when the outcome is entered and the third party is still to hear that its answer came.
awaited = Table(
    "awaited",
    metadata,
    Column("disclosure", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Text, nullable=False),
    # When the job gives up, for whoever looks whether jobs run; the job itself goes by what is sealed.
    Column("until", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("awaited_subject", "subject"),
)

subjects = Table(
    "subjects",
    metadata,
    Column("blind", LargeBinary, primary_key=True),
    Column("subject", Text, nullable=False, unique=True),
    # The IIN under the subject's own key, so that a new epoch's index can be made.
    Column("iin", LargeBinary),
)

subject_keys = Table(
    "subject_keys",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Index("subject_keys_epoch", "epoch"),
)

# Who was erased, and the epoch with whose keys that takes effect: their entries may lie in files.
erasures = Table(
    "erasures",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
)

_ASKED, _STANDS = text("withdrawal_asked_at IS NOT NULL"), text("withdrawn_at IS NULL")
consents = Table(
    "consents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("withdrawal_asked_at", Text),
    Column("withdrawn_at", Text),
    # What the terms say, in UTC.
    Column("expires_at", Text),
    Index("consents_subject", "subject"),
    # The few whose withdrawal was asked for, among all.
    Index("consents_asked", "id", sqlite_where=_ASKED, postgresql_where=_ASKED),
    Index("consents_expires", "expires_at", "id", sqlite_where=_STANDS, postgresql_where=_STANDS),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("recipient", Text, primary_key=True),
    Column("since", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("disclosure", Text, nullable=False),
    # Digest of what was asked, under the subject's key.
    Column("request", Text),
    Index("idempotency_disclosure", "disclosure"),
)

# Handovers: what is to be decided, packaged and sent as one. What they told third parties stands in the entries.
_LEFT = "reminded IS NULL AND state IN ('sent', 'acknowledged', 'rejected', 'unknown')"
_KEPT, _PROMISED = text(_LEFT), text(f"destroy_by IS NOT NULL AND {_LEFT}")
_FOLLOWS = text("follows IS NOT NULL")

handovers = Table(
    "handovers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Text, nullable=False),
    # When the state was last changed.
    Column("changed", Text, nullable=False),
    # What was ordered, and what came of it so far: names, numbers and digests, as JSON.
    Column("ordered", Text, nullable=False),
    Column("figures", Text, nullable=False),
    # The key of its register's file, wrapped like a subject's; gone when the register is.
    Column("epoch", Integer),
    Column("wrapped", LargeBinary),
    # The Idempotency-Key that it was ordered with, and what it stood for, as keyed hashes.
    Column("once", LargeBinary, unique=True),
    Column("body", LargeBinary),
    # Of its order, and the handover whose tale it goes on with (a change of creditor, after a cession).
    Column("operation", Text),
    Column("follows", Text),
    # The day by which its receipt says that the data are destroyed, and the one on which nobody need be reminded again.
    Column("destroy_by", Text),
    Column("reminded", Text),
    Index("handovers_state", "state", "since", "id"),
    Index("handovers_since", "since", "id"),
    Index("handovers_kept", "recipient", "since", sqlite_where=_KEPT, postgresql_where=_KEPT),
    Index("handovers_promised", "destroy_by", sqlite_where=_PROMISED, postgresql_where=_PROMISED),
    Index("handovers_follows", "follows", sqlite_where=_FOLLOWS, postgresql_where=_FOLLOWS),
    Index("handovers_operation", "operation", "since", "id"),
    Index("handovers_changed", "recipient", "changed"),
)

# Rows of a handover that were decided: a byte each, in the transaction of their entries, so that none is decided twice.
handover_chunks = Table(
    "handover_chunks",
    metadata,
    Column("handover", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("results", LargeBinary, nullable=False),
    Column("figures", Text, nullable=False),
)

# Rows that did not go, or that the recipient rejected: by names and codes, never by a value.
handover_findings = Table(
    "handover_findings",
    metadata,
    Column("handover", Text, primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("result", Text, primary_key=True),
    Column("reasons", Text, nullable=False),
)

# Recalls: asking recipients to stop and destroy. What was asked of whom stands in the entries; here is how far it came.
recalls = Table(
    "recalls",
    metadata,
    Column("id", Text, primary_key=True),
    # Of the intent of its notice, and of its package: a new one with each attempt after one that surely was not sent.
    Column("notice", Text),
    # A disclosure or a handover, by `scope`; for a row of a handover also that.
    Column("target", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("handover", Text),
    Column("subject", Text),
    # On whose route, and for which purpose, the data left.
    Column("caller", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", Text, nullable=False),
    # When the state was last changed.
    Column("changed", Text, nullable=False),
    Column("due_on", Text, nullable=False),
    # Who asked, and what came of it so far: names, numbers and digests, as JSON.
    Column("figures", Text, nullable=False),
    # The contract's number while the notice waits, under the subject's key.
    Column("sealed", LargeBinary),
    Index("recalls_state", "state", "due_on", "since", "id"),
    Index("recalls_target", "target"),
    Index("recalls_subject", "subject"),
    Index("recalls_notice", "notice"),
    Index("recalls_handover", "handover"),
)

# Up to which entry the disclosures to a recipient were looked through for those that it must have destroyed.
retention = Table(
    "retention",
    metadata,
    Column("recipient", Text, primary_key=True),
    Column("seen", Number, nullable=False),
)

# What callers were told, sealed under the subject's key: the first answer to an Idempotency-Key, a report that may
# serve again.
answers = Table(
    "answers",
    metadata,
    Column("disclosure", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("extract", Text, nullable=False),
    Column("time", Text, nullable=False),
    Column("kept_until", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("answers_subject", "subject", "route"),
    Index("answers_kept_until", "kept_until"),
)

# Tokens by which callers prove who they are; only a slow hash of each is kept.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("made", Text, nullable=False),
    Column("expires", Text, nullable=False),
    Column("revoked", Text),
)

# One-time links by which people sign in to the console; only a digest of each secret is kept.
console_links = Table(
    "console_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("person", Text, nullable=False),
    # Roles with spaces between.
    Column("roles", Text, nullable=False),
    Column("expires", Text, nullable=False),
    Column("used", Text),
)

# Who is signed in to the console. Groups are what the OpenID provider said, so that the configuration of today says
# which roles they have.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("person", Text, nullable=False),
    # `link` or the issuer, and by it the person's lasting name there: two sessions of one person are one person.
    Column("issuer", Text, nullable=False),
    Column("sub", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("expires", Text, nullable=False),
    Column("ended", Text),
)

# Searches that people of the console saved: addresses of its pages.
saved_searches = Table(
    "saved_searches",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("sub", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("address", Text, nullable=False),
)

# What takes two persons and was asked for by one of them.
approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("act", Text, nullable=False),
    # What it is done to and with: names, ids and numbers as JSON, never a personal value.
    Column("what", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("expires", Text, nullable=False),
    # `asked`, `agreed`, `refused`, `done` or `failed`.
    Column("state", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("code", Text),
    Index("approvals_state", "state"),
)

# Alerts (5.5), each by the rule that raised it.
alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("rule", Text, nullable=False),
    # What it is about, in names: `caller:loan-scoring`; of a subject its random id.
    Column("about", Text, nullable=False),
    Column("cause", Text, nullable=False),
    # The cause while it is open, so that one cause is open once.
    Column("standing", Text, unique=True),
    Column("episode", Text, nullable=False),
    # `open` or `acknowledged`.
    Column("state", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("last", Text, nullable=False),
    # Names and numbers as JSON.
    Column("figures", Text, nullable=False),
    Column("person", Text),
    Column("reason", Text),
    Column("acknowledged", Text),
    Index("alerts_cause", "cause", "since"),
    Index("alerts_state", "state", "id"),
)

# What rules remember between two looks: how far they looked, counts by hour.
alert_memory = Table(
    "alert_memory",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# Who asked about whom of late.
alert_askers = Table(
    "alert_askers",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("asker", Text, primary_key=True),
    Column("time", Text, nullable=False),
    Index("alert_askers_time", "time"),
)

# What verifications of the whole ledger found. Whoever verified says so; no entry stands behind it, because a ledger
# that does not verify takes none.
verifications = Table(
    "verifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("time", Text, nullable=False),
    Column("person", Text, nullable=False),
    # `verified`, `partly` (bodies in files were not read) or `failed`.
    Column("result", Text, nullable=False),
    # Entries that stood there.
    Column("size", Number, nullable=False),
    Column("seconds", Number, nullable=False),
    # Of the first bad entry, where one is known.
    Column("first_bad", Number),
)

# What another system is told of alerts. State `waiting`, `accepted` or `too_old`.
alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alert", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("made", Text, nullable=False),
    Column("next", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Index("alert_messages_state", "state", "next"),
    Index("alert_messages_alert", "alert"),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# SQLite keeps in a column whatever is put there, unless its table is STRICT.
for _table in metadata.tables.values():
    _table.dialect_options["sqlite"]["strict"] = True
