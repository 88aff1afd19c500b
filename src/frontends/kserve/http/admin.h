#pragma once
// KServe v2 over HTTP, all but inference: facts about server and models, the repository, shared memory, settings.
// Each takes a request and gives its reply; errors are thrown.

#include "frontends/kserve/service.h"
#include "frontends/router.h"

namespace inazuma::kserve {

HttpResponse server_metadata(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse server_live(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse server_ready(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse model_metadata(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse model_ready(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse model_config(Service& service, const HttpRequest& request, const RouteMatch& match);
/// Of one model, or of all when the match names none.
HttpResponse model_statistics(Service& service, const HttpRequest& request, const RouteMatch& match);

HttpResponse repository_index(Service& service, const HttpRequest& request, const RouteMatch& match);
/// Paths with a repository's name: unsupported.
HttpResponse named_repository(Service& service, const HttpRequest& request, const RouteMatch& match);
/// Answer when the work is done, on a thread of the service.
void load_model(Service& service, const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match);
void unload_model(Service& service, const std::shared_ptr<HttpExchange>& exchange, const RouteMatch& match);

HttpResponse shared_memory_status(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse shared_memory_register(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse shared_memory_unregister(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse cuda_memory_status(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse cuda_memory_register(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse cuda_memory_unregister(Service& service, const HttpRequest& request, const RouteMatch& match);

HttpResponse get_trace(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse set_trace(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse get_logging(Service& service, const HttpRequest& request, const RouteMatch& match);
HttpResponse set_logging(Service& service, const HttpRequest& request, const RouteMatch& match);

/// base64 as in load requests' file overrides (RFC 4648, padding required). invalid: anything else.
std::string decode_base64(std::string_view text, std::string_view what);

}  // namespace inazuma::kserve
