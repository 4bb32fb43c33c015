#pragma once

#include <exception>
#include <string>

#include <dbcache/errors.hpp>

namespace dbcache::test {

/// What a call threw, as "Class: message"; empty where it returned. For results that cross from a
/// child process, and for messages in one line.
template <class Call>
std::string error_of(Call call) {
  try {
    static_cast<void>(call());
    return "";
  } catch (const InvalidArgument& error) {
    return std::string("InvalidArgument: ") + error.what();
  } catch (const NotFound& error) {
    return std::string("NotFound: ") + error.what();
  } catch (const Busy& error) {
    return std::string("Busy: ") + error.what();
  } catch (const Timeout& error) {
    return std::string("Timeout: ") + error.what();
  } catch (const Cancelled& error) {
    return std::string("Cancelled: ") + error.what();
  } catch (const LeaseLost& error) {
    return std::string("LeaseLost: ") + error.what();
  } catch (const CreationFailed& error) {
    return std::string("CreationFailed: ") + error.what();
  } catch (const CorruptDatabase& error) {
    return std::string("CorruptDatabase: ") + error.what();
  } catch (const DatabaseMoved& error) {
    return std::string("DatabaseMoved: ") + error.what();
  } catch (const NewerSchema& error) {
    return std::string("NewerSchema: ") + error.what();
  } catch (const StorageFailure& error) {
    return (error.outcome() == StorageFailure::Outcome::unknown ? "StorageFailure (unknown): "
                                                                : "StorageFailure: ") +
           std::string(error.what());
  } catch (const std::exception& error) {
    return std::string("std::exception: ") + error.what();
  }
}

}  // namespace dbcache::test
