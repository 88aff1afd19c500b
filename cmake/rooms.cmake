# One CMake target per folder of src/ ("room"), linking only what is below it in the house.
# Sources are found by pattern, so that adding a file (an architecture, say) edits no list.

add_library(inazuma_options INTERFACE)
target_include_directories(inazuma_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(inazuma_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(INAZUMA_WERROR)
  target_compile_options(inazuma_options INTERFACE -Werror)
endif()
if(INAZUMA_SANITIZE)
  add_compile_options(-fsanitize=${INAZUMA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${INAZUMA_SANITIZE})
  # protobuf's headers lay maps out with one member more under the thread sanitizer; the system's library was built without.
  if(INAZUMA_SANITIZE MATCHES thread)
    add_compile_options(-U__SANITIZE_THREAD__)
  endif()
endif()

# Where CMAKE_UNITY_BUILD is on (presets of whole builds), the files of a folder are compiled as one: most of
# the time goes into reading the same headers, so a first build takes half of it.
function(inazuma_fold target)
  get_target_property(sources ${target} SOURCES)
  foreach(file IN LISTS sources)
    cmake_path(GET file PARENT_PATH folder)
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE group)
    string(MAKE_C_IDENTIFIER "${group}" group)
    set_source_files_properties(${file} PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
endfunction()

# inazuma_room(NAME [LINKS rooms and libraries...] [SOURCES files...] [WHOLE])
# Without SOURCES every .cpp of the folder belongs to the room. WHOLE keeps objects that nothing refers to by name
# (self-registering architectures) in every program that links the room.
function(inazuma_room name)
  cmake_parse_arguments(ROOM "WHOLE" "" "LINKS;SOURCES" ${ARGN})
  if(NOT ROOM_SOURCES)
    file(GLOB ROOM_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  if(ROOM_SOURCES)
    add_library(${name} STATIC ${ROOM_SOURCES})
    target_link_libraries(${name} PUBLIC inazuma_options ${ROOM_LINKS})
    inazuma_fold(${name})
    if(ROOM_WHOLE)
      target_link_options(${name} INTERFACE "LINKER:--whole-archive,$<TARGET_FILE:${name}>,--no-whole-archive")
    endif()
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE inazuma_options ${ROOM_LINKS})
  endif()
endfunction()
