"""Resources of the standard APIs, their events and deliveries, workflows and their steps."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("loops", sa.Column("service", sa.String(length=64), server_default="", nullable=False))
    op.create_table(
        "hubs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("api", sa.String(length=40), nullable=False),
        sa.Column("callback", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", COUNTED, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("api", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("t", sa.Float(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("outbox_by_time", "outbox", ["t"], unique=False)
    op.create_table(
        "resources",
        sa.Column("seq", COUNTED, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("kind", "id"),
    )
    op.create_table(
        "workflows",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("updated", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("workflows_by_state", "workflows", ["state"], unique=False)
    op.create_table(
        "attributes",
        sa.Column("resource", COUNTED, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("head", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["resource"], ["resources.seq"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("resource", "n"),
        sqlite_with_rowid=False,
    )
    op.create_index("attributes_by_number", "attributes", ["path", "number"], unique=False)
    op.create_index("attributes_by_text", "attributes", ["path", "head"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("hub", sa.String(length=36), nullable=False),
        sa.Column("event", COUNTED, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["event"], ["outbox.seq"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["hub"], ["hubs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hub", "event"),
    )
    op.create_index("deliveries_waiting", "deliveries", ["hub", "state", "event"], unique=False)
    op.create_index("deliveries_of_event", "deliveries", ["event"], unique=False)
    op.create_table(
        "steps",
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("began", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["workflow"], ["workflows.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workflow", "n"),
    )


def downgrade() -> None:
    op.drop_table("steps")
    op.drop_index("deliveries_of_event", table_name="deliveries")
    op.drop_index("deliveries_waiting", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("attributes_by_text", table_name="attributes")
    op.drop_index("attributes_by_number", table_name="attributes")
    op.drop_table("attributes")
    op.drop_index("workflows_by_state", table_name="workflows")
    op.drop_table("workflows")
    op.drop_table("resources")
    op.drop_index("outbox_by_time", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("hubs")
    op.drop_column("loops", "service")
