"""The counter as an author would write it with DBOS on PostgreSQL: a workflow a turn.

The update's id is the workflow's: one that comes again is answered as before. Counter and
checkpoint are one transaction. Nothing keeps a user's messages in order. Run by uvicorn.
"""

import os
from contextlib import asynccontextmanager

from dbos import DBOS, SetWorkflowID, SQLAlchemyDatasource
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import text as sql

DATABASE = os.environ["DATABASE"]
CONNECTIONS = 20

DBOS(config={
    "name": "bot",
    "system_database_url": DATABASE,
    "sys_db_pool_size": CONNECTIONS,
    # No process takes up the workflows of the other.
    "executor_id": str(os.getpid()),
    "log_level": "WARNING",
})
database = SQLAlchemyDatasource.create(DATABASE, engine_kwargs={"pool_size": CONNECTIONS})


@database.transaction(isolation_level="READ COMMITTED")
def add_one(user: str) -> int:
    session = database.sql_session()
    row = session.execute(
        sql("SELECT count FROM users WHERE id = :user FOR UPDATE"), {"user": user}).first()
    if row is None:
        # Another message may be the first one, too.
        return session.execute(
            sql("INSERT INTO users AS u VALUES (:user, 1) "
                "ON CONFLICT (id) DO UPDATE SET count = u.count + 1 RETURNING count"),
            {"user": user}).scalar_one()
    session.execute(
        sql("UPDATE users SET count = :count WHERE id = :user"),
        {"count": row[0] + 1, "user": user})
    return row[0] + 1


@DBOS.workflow()
def turn(user: str, text: str) -> dict:
    return {"replies": [{"text": f"{add_one(user)}: {text}"}]}


@asynccontextmanager
async def lifespan(_):
    DBOS.launch()
    yield
    DBOS.destroy()


class Update(BaseModel):
    user_id: str
    text: str
    id: str


app = FastAPI(lifespan=lifespan)


@app.post("/http")
def message(update: Update) -> dict:
    with SetWorkflowID(update.id):
        return turn(update.user_id, update.text)
