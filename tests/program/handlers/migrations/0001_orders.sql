CREATE TABLE orders (
    user_id VARCHAR(256) NOT NULL,
    item VARCHAR(1000) NOT NULL CHECK (item <> '')
)
