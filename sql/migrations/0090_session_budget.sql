-- A session's spend ceiling in cents of list price (contract 9.3); NULL: none, or removed for good (a budget is set at creation only).
ALTER TABLE session ADD COLUMN budget_cents bigint CHECK (budget_cents > 0);
