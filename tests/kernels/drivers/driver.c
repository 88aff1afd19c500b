// Stands in for libcuda.so.1 where there is none: a driver of version VERSION that shows no device. The CUDA runtime
// looks no further than this before it gives up (Driver API, "Version Management", "Driver Entry Point Access").

#include <string.h>

enum { SUCCESS = 0, ERROR_NO_DEVICE = 100 };

int cuDriverGetVersion(int* version) {
  *version = VERSION;
  return SUCCESS;
}

int cuInit(unsigned flags) {
  (void)flags;
  return ERROR_NO_DEVICE;
}

static int other(void) {
  return ERROR_NO_DEVICE;
}

int cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long flags, int* found) {
  (void)version;
  (void)flags;
  *function = (void*)other;
  if (strcmp(name, "cuInit") == 0) *function = (void*)cuInit;
  if (strcmp(name, "cuDriverGetVersion") == 0) *function = (void*)cuDriverGetVersion;
  if (strncmp(name, "cuGetProcAddress", 16) == 0) *function = (void*)cuGetProcAddress_v2;
  if (found != 0) *found = 0;
  return SUCCESS;
}

int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, 0);
}
