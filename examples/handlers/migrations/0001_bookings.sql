-- One row for each hour that is taken. The primary key is the promise that nobody else
-- gets it.
CREATE TABLE bookings (
    hour VARCHAR(20) PRIMARY KEY,
    visitor VARCHAR(300) NOT NULL
);
