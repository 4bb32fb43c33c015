#include "fake_workspace.hpp"

#include <cerrno>
#include <csignal>
#include <spawn.h>
#include <stdexcept>
#include <system_error>

#include <boost/json.hpp>
#include <sys/wait.h>

namespace json = boost::json;

namespace dbcache::test {

FakeWorkspace::FakeWorkspace(std::vector<std::string> options, std::filesystem::path directory)
    : directory_(std::move(directory)), options_(std::move(options)) {
  if (directory_.empty()) directory_ = temporary_.emplace().path();
  start();
}

void FakeWorkspace::trust() const { ::setenv("SSL_CERT_FILE", about("ca").c_str(), 1); }

FakeWorkspace::~FakeWorkspace() {
  if (::getpid() == owner_) kill();
}

void FakeWorkspace::start() {
  std::vector<std::string> words{"python3", DBCACHE_FAKE_WORKSPACE, directory_.string(),
                                 "--die-with-parent"};
  words.insert(words.end(), options_.begin(), options_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  Pipe& life = life_.emplace();
  Pipe first_line;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, life.read_end(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, first_line.write_end(), 1);
  const int error =
      ::posix_spawnp(&pid_, arguments.front(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), words.front());
  life.close_read();
  first_line.close_write();

  std::string line;
  for (char byte = 0; first_line.get(byte) && byte != '\n';) line += byte;
  boost::system::error_code failed;
  const json::value said = json::parse(line, failed);
  if (failed || !said.is_object()) {
    kill();
    throw std::runtime_error("the fake workspace did not start; it said: " + line);
  }
  about_ = said.get_object();
}

void FakeWorkspace::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

std::string FakeWorkspace::about(std::string_view field) const {
  const json::value* const value = about_.if_contains(field);
  if (value == nullptr) {
    throw std::runtime_error("the fake workspace does not say its " + std::string(field));
  }
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

json::value FakeWorkspace::ask(std::string_view method, std::string_view path,
                               const std::optional<json::value>& body) {
  workspace::HttpRequest request;
  request.method = method;
  request.url = about("control") + std::string(path);
  if (body) {
    request.headers = {"Content-Type: application/json"};
    request.body = json::serialize(*body);
  }
  const workspace::HttpResponse response =
      http_.send(request, workspace::Bounds{}.at_most(std::chrono::minutes{1}));
  constexpr int redirection = 300;
  if (response.status >= redirection) {
    throw std::runtime_error("the fake workspace refuses " + request.url + ": " + response.body);
  }
  return response.body.empty() ? json::value(nullptr) : json::parse(response.body);
}

}  // namespace dbcache::test
