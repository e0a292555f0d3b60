-- What a model can do beyond plain requests. mid_system: system messages between the others (contract 3.2, system.message).
ALTER TABLE model ADD COLUMN mid_system boolean NOT NULL DEFAULT false;
