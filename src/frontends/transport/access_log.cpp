#include "frontends/transport/access_log.h"

#include "base/log.h"

namespace inazuma {

void log_access(const AccessLine& line) {
  const Usage& usage = line.usage;
  const auto ms = [](auto duration) { return std::chrono::duration<double, std::milli>(duration).count(); };
  log::write(line.routine ? log::Level::debug : log::Level::info, "request",
             {{"request_id", line.id},
              {"method", line.method},
              {"route", line.route},
              {"status", line.status},
              {"bytes_in", line.bytes_in},
              {"bytes_out", line.bytes_out},
              {"total_ms", ms(line.took)},
              {"queue_ms", ms(usage.queue)},
              {"infer_ms", ms(usage.inference)},
              {"tokens_in", usage.prompt_tokens},
              {"tokens_out", usage.generated_tokens},
              {"model", usage.model},
              {"client", line.client}});
}

}  // namespace inazuma
