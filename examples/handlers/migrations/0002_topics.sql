-- Of the support desk: which topic of its group is whose.
CREATE TABLE topics (
    topic VARCHAR(20) PRIMARY KEY,
    customer VARCHAR(64) NOT NULL UNIQUE
);
