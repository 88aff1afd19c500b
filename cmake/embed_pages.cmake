# Writes OUTPUT: the files of FOLDER as bytes, behind pages() of frontends/web/pages.h.
file(GLOB files RELATIVE ${FOLDER} ${FOLDER}/*)
set(arrays "")
set(rows "")
set(index 0)
foreach(file IN LISTS files)
  cmake_path(GET file EXTENSION LAST_ONLY extension)
  if(extension STREQUAL ".html")
    set(type "text/html; charset=utf-8")
  elseif(extension STREQUAL ".css")
    set(type "text/css; charset=utf-8")
  elseif(extension STREQUAL ".js")
    set(type "text/javascript; charset=utf-8")
  elseif(extension STREQUAL ".svg")
    set(type "image/svg+xml")
  else()
    message(FATAL_ERROR "web/${file}: no content type is known for ${extension}")
  endif()
  file(READ ${FOLDER}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND arrays "const unsigned char kFile${index}[] = {${bytes}0};\n")
  string(APPEND rows "      Page{\"/${file}\", \"${type}\", view(kFile${index}, sizeof kFile${index} - 1)},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/embed_pages.cmake.
#include \"frontends/web/pages.h\"

namespace inazuma {
namespace {
${arrays}
std::string_view view(const unsigned char* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }
}  // namespace

std::span<const Page> pages() {
  static const Page kPages[] = {
${rows}  };
  return kPages;
}
}  // namespace inazuma
")
