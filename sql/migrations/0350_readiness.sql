-- One row that readiness() writes to: whoever asks whether the service can work learns whether the database takes a write.
CREATE TABLE readiness (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  at   timestamptz NOT NULL
);
INSERT INTO readiness (at) VALUES (clock_timestamp());
