#pragma once

#include <string>
#include <vector>

#include <boost/json.hpp>

namespace dbcache::test {

/// What the workspace answers, in one row of docs/workspace-answers.md.
struct Answer {
  std::string name;
  std::string state{};          ///< The cluster's, if the row is of one.
  bool goes_on = false;         ///< From that state by itself.
  bool says_nothing = false;    ///< That state does not say whether the cluster lives.
  std::string gone_form{};      ///< How the workspace says that there is no such cluster.
  boost::json::object fault{};  ///< Of the request that a column is about.
  bool is_for_all = false;      ///< The fault is of each request.
};

/// Those about a cluster: each state, and each form of gone.
std::vector<Answer> states();
/// Those to a request: each error body, and each fault.
std::vector<Answer> answers();

}  // namespace dbcache::test
