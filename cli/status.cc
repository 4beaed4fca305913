#include "cli/status.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/store/run_store.h"

namespace engram::cli {
namespace {

constexpr const char* kStatusHelp =
    R"(What a run is and how far it is: what decides its content (model, facts, options),
the sessions that worked on it, what each experiment has finished, and what was
skipped and why. While the run goes on it may be called from another terminal as
often as you like: it reads and never waits.

A session that was killed (kill -9, power, a full disk) is told from one that runs
by the lock that a living writer holds on RUN.db-lock. A killed run goes on with
the command that began it.

Example:
  engram status run.db
)";

using Json = nlohmann::ordered_json;

struct StatusOptions {
  CommonOptions common;
  std::string run;
};

/// What one experiment has finished.
struct Finished {
  int64_t units = 0;
  std::set<std::string> relations;
};

struct Status {
  std::string path;
  std::optional<std::string> writer;
  RunIdentity identity;
  std::vector<RunSession> sessions;
  std::map<std::string, Finished> finished;
  std::map<std::string, std::string> skipped;
};

Status read_status(const std::string& path) {
  Status status;
  status.path = path;
  RunStore run = RunStore::open(path, RunStore::Mode::kRead);
  run.snapshot([&] {
    status.identity = run.identity();
    status.sessions = run.sessions();
    for (const Unit& unit : run.units()) {
      Finished& finished = status.finished[unit.experiment];
      ++finished.units;
      finished.relations.insert(unit.relation);
    }
    status.skipped = run.skipped();
  });
  // After the sessions were read: one that ended in between has ended there, too.
  status.writer = RunStore::writer(path);
  return status;
}

/// Only the last session can be running.
const char* state_of(const Status& status, const RunSession& session) {
  if (!session.ended.empty()) return session.interrupted ? "interrupted" : "ended";
  const bool last = session.session == status.sessions.back().session;
  return last && status.writer ? "running" : "killed";
}

const char* state_of(const Status& status) {
  if (status.sessions.empty()) return status.writer ? "running" : "new";
  return state_of(status, status.sessions.back());
}

/// Of the stage at work; nothing before the first piece of it is done.
std::optional<double> rate_of(const RunSession& session) {
  const int64_t done = session.done - session.stage_from;
  if (done <= 0 || session.stage_seconds <= 0) return {};
  return static_cast<double>(done) / session.stage_seconds;
}

std::optional<double> seconds_left(const RunSession& session) {
  const std::optional<double> rate = rate_of(session);
  if (!rate) return {};
  return static_cast<double>(session.total - session.done) / *rate;
}

std::string stage_text(const RunSession& session, bool running) {
  if (session.stage.empty()) return "nothing yet";
  std::string text = session.stage + ": " + format_count(session.done) + " of " +
                     format_count(session.total) + " facts";
  if (session.total > 0) {
    text += " (" +
            format_percent(static_cast<double>(session.done) / static_cast<double>(session.total)) +
            ")";
  }
  if (const auto rate = rate_of(session)) text += ", " + format_number(*rate, 3) + " facts/s";
  if (const auto left = seconds_left(session); left && running) {
    text += ", " + format_duration(*left) + " left";
  }
  return text;
}

std::string status_text(const Status& status) {
  const std::string state = state_of(status);
  std::string text = status.path + ": " + state;
  if (status.writer) text += " (" + printable(*status.writer) + ")";
  text += "\n";
  if (!status.sessions.empty()) {
    text += "  " + stage_text(status.sessions.back(), state == "running") + "\n";
  }
  Table identity({{"identity", Table::Align::kLeft}, {"", Table::Align::kLeft}});
  for (const auto& [name, value] : status.identity) {
    identity.add_row({printable(name), shorten(printable(value), 100)});
  }
  if (!identity.empty()) text += "\n" + identity.str();
  Table sessions({{"session"},
                  {"started", Table::Align::kLeft},
                  {"last write", Table::Align::kLeft},
                  {"time"},
                  {"state", Table::Align::kLeft},
                  {"at", Table::Align::kLeft},
                  {"process", Table::Align::kLeft},
                  {"command", Table::Align::kLeft}});
  for (const RunSession& session : status.sessions) {
    sessions.add_row({format_count(session.session), session.started, session.last,
                      format_duration(session.seconds), state_of(status, session),
                      printable(session.stage), printable(session.host),
                      shorten(printable(session.command), 60)});
  }
  if (!sessions.empty()) text += "\n" + sessions.str();
  Table finished({{"experiment", Table::Align::kLeft}, {"relations"}, {"work units done"}});
  for (const auto& [name, of] : status.finished) {
    const bool across = of.relations.size() == 1 && of.relations.contains("");
    finished.add_row({printable(name),
                      across ? "all" : format_count(static_cast<int64_t>(of.relations.size())),
                      format_count(of.units)});
  }
  if (!finished.empty()) text += "\n" + finished.str();
  for (const auto& [experiment, reason] : status.skipped) {
    text += "\nskipped: " + printable(experiment) + ": " + printable(reason);
  }
  return text + (status.skipped.empty() ? "" : "\n");
}

Json number_or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json session_json(const Status& status, const RunSession& session) {
  const std::string state = state_of(status, session);
  Json out = {{"session", session.session}, {"state", state},       {"command", session.command},
              {"version", session.version}, {"host", session.host}, {"started", session.started},
              {"last", session.last}};
  out["ended"] = session.ended.empty() ? Json(nullptr) : Json(session.ended);
  out["seconds"] = session.seconds;
  out["stage"] = session.stage;
  out["done"] = session.done;
  out["total"] = session.total;
  out["facts_per_second"] = number_or_null(rate_of(session));
  out["seconds_left"] =
      number_or_null(state == "running" ? seconds_left(session) : std::optional<double>());
  return out;
}

Json status_json(const Status& status) {
  Json out = {{"schema", "engram.status/1"}, {"run", status.path}, {"state", state_of(status)}};
  out["writer"] = status.writer ? Json(*status.writer) : Json(nullptr);
  Json& identity = out["identity"] = Json::object();
  for (const auto& [name, value] : status.identity) identity[name] = value;
  Json& sessions = out["sessions"] = Json::array();
  for (const RunSession& session : status.sessions) {
    sessions.push_back(session_json(status, session));
  }
  Json& experiments = out["experiments"] = Json::array();
  for (const auto& [name, of] : status.finished) {
    experiments.push_back(
        {{"experiment", name}, {"relations", of.relations.size()}, {"units", of.units}});
  }
  Json& skipped = out["skipped"] = Json::array();
  for (const auto& [experiment, reason] : status.skipped) {
    skipped.push_back({{"experiment", experiment}, {"reason", reason}});
  }
  return out;
}

void run_status(const StatusOptions& options) {
  const Status status = read_status(options.run);
  if (options.common.json) {
    print_json(status_json(status), 2);
  } else {
    print(status_text(status));
  }
}

}  // namespace

void add_status_command(CLI::App& app) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command = add_command(app, "status", "how far a run is", kStatusHelp);
  add_path(*command, "RUN", options->run, "File of the run.")->required();
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_status(*options); });
}

}  // namespace engram::cli
