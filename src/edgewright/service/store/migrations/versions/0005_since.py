"""Since when a delivery waits: a dead letter that is given again is as old as that."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("since", sa.Float(), server_default="0", nullable=False))
    op.execute("UPDATE deliveries SET since = (SELECT t FROM outbox WHERE outbox.seq = deliveries.event)")


def downgrade() -> None:
    op.drop_column("deliveries", "since")
