-- Deletes every account.

DROP TABLE users;
