#include "bench/message_store.hpp"

#include <array>
#include <charconv>
#include <stdexcept>

#include <fmt/format.h>

namespace dbcache::bench {
namespace {

constexpr const char* schema = R"(
CREATE TABLE messages (
    global_position bigserial PRIMARY KEY,
    position bigint NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    stream_name text NOT NULL,
    type text NOT NULL,
    data jsonb,
    metadata jsonb
);

CREATE FUNCTION category(stream_name varchar) RETURNS varchar LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN split_part(stream_name, '-', 1);
END $$;

CREATE FUNCTION hash_64(name varchar) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN ('x' || left(md5(name), 16))::bit(64)::bigint;
END $$;

CREATE FUNCTION stream_version(name varchar) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT max(position) FROM messages WHERE messages.stream_name = name);
END $$;

CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE UNIQUE INDEX messages_stream
    ON messages (stream_name, position, category(metadata->>'correlationStreamName'));
CREATE INDEX messages_category
    ON messages (category(stream_name), global_position,
                 category(metadata->>'correlationStreamName'));

CREATE FUNCTION write_message(message_id varchar, stream varchar, message_type varchar, content jsonb,
                              about jsonb, expected_version bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hash_64(category(stream)));
    last := coalesce(stream_version(stream), -1);
    IF expected_version IS NOT NULL AND expected_version <> last THEN
        RAISE EXCEPTION 'the version of % is %, not %', stream, last, expected_version;
    END IF;
    INSERT INTO messages (id, stream_name, position, type, data, metadata)
    VALUES (message_id::uuid, stream, last + 1, message_type, content, about);
    RETURN last + 1;
END $$;
)";

constexpr const char* statement = "write_message";

}  // namespace

void MessageStore::create(const std::string& url) { test::PostgresConnection(url).execute(schema); }

MessageStore::MessageStore(const std::string& url, std::string stream, std::string payload,
                           std::string metadata)
    : connection_(url),
      stream_(std::move(stream)),
      payload_(std::move(payload)),
      metadata_(std::move(metadata)) {
  // One who goes on with a stream has read it before.
  const std::string last = connection_.query("SELECT stream_version('" + stream_ + "')");
  if (!last.empty()) version_ = std::stoll(last);
  PGresult* const prepared =
      PQprepare(connection_.get(), statement,
                "SELECT write_message($1::varchar, $2::varchar, 'UsageIncremented', $3::jsonb, "
                "$4::jsonb, $5::bigint)",
                0, nullptr);
  const bool done = PQresultStatus(prepared) == PGRES_COMMAND_OK;
  PQclear(prepared);
  if (!done) throw std::runtime_error(PQerrorMessage(connection_.get()));
}

void MessageStore::write() {
  const std::string id = fmt::format("{:016x}{:016x}", random_(), random_());
  const std::string expected = std::to_string(version_);
  const std::array<const char*, 5> values{id.c_str(), stream_.c_str(), payload_.c_str(),
                                          metadata_.c_str(), expected.c_str()};
  PGresult* const result = PQexecPrepared(connection_.get(), statement, std::ssize(values),
                                          values.data(), nullptr, nullptr, 0);
  const bool done = PQresultStatus(result) == PGRES_TUPLES_OK;
  if (done) version_ = std::stoll(PQgetvalue(result, 0, 0));
  PQclear(result);
  if (!done) throw std::runtime_error(PQerrorMessage(connection_.get()));
}

}  // namespace dbcache::bench
