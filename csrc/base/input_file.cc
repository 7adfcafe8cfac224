#include "base/input_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace ftllm {

InputFile::InputFile(int descriptor) : descriptor_(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)) {
  if (descriptor_ < 0) {
    throw Error(Error::Kind::kCheckpoint,
                std::string("a file cannot be kept open: ") + std::strerror(errno));
  }
}

InputFile::~InputFile() { close(descriptor_); }

int InputFile::read(uint8_t* to, size_t bytes, int64_t offset) const noexcept {
  while (bytes > 0) {
    const ssize_t done = pread(descriptor_, to, bytes, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done < 0 ? errno : -1;
    to += done;
    offset += done;
    bytes -= static_cast<size_t>(done);
  }
  return 0;
}

}  // namespace ftllm
