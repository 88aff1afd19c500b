# The IPADIC dictionary that `pip install ipadic` ships: built from Debian's mecab-ipadic sources (package mecab-ipadic, compiler in
# mecab-utils) without the one row that Debian added (令和, EUC-JP CE E1 CF C2), as UTF-8.
find_program(MECAB_DICT_INDEX mecab-dict-index PATHS /usr/lib/mecab /usr/libexec/mecab REQUIRED)
set(INAZUMA_IPADIC_SOURCES /usr/share/mecab/dic/ipadic CACHE PATH "Sources (CSV, EUC-JP) of IPADIC 2.7.0-20070801")
if(NOT EXISTS ${INAZUMA_IPADIC_SOURCES}/Noun.proper.csv)
  message(FATAL_ERROR "IPADIC sources not found in ${INAZUMA_IPADIC_SOURCES}: install mecab-ipadic or set INAZUMA_IPADIC_SOURCES")
endif()

set(ipadic_work ${CMAKE_CURRENT_BINARY_DIR}/ipadic-sources)
set(ipadic_out ${CMAKE_BINARY_DIR}/share/inazuma/mecab/ipadic)
file(GLOB ipadic_sources ${INAZUMA_IPADIC_SOURCES}/*.csv ${INAZUMA_IPADIC_SOURCES}/*.def ${INAZUMA_IPADIC_SOURCES}/dicrc)
add_custom_command(
  OUTPUT ${ipadic_out}/sys.dic
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${ipadic_work} ${ipadic_out}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${ipadic_work} ${ipadic_out}
  COMMAND ${CMAKE_COMMAND} -E copy ${ipadic_sources} ${ipadic_work}
  COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/drop_added_rows.sh ${ipadic_work}/Noun.proper.csv
  COMMAND ${MECAB_DICT_INDEX} -d ${ipadic_work} -o ${ipadic_out} -f EUC-JP -t UTF-8 > ${ipadic_work}/log 2>&1
  COMMAND ${CMAKE_COMMAND} -E copy ${ipadic_work}/dicrc ${ipadic_out}
  COMMAND ${CMAKE_COMMAND} -E touch ${ipadic_out}/mecabrc
  DEPENDS ${ipadic_sources} ${CMAKE_CURRENT_LIST_DIR}/drop_added_rows.sh
  COMMENT "Compiling the IPADIC dictionary"
  VERBATIM)
add_custom_target(mecab_dictionary ALL DEPENDS ${ipadic_out}/sys.dic)
install(DIRECTORY ${ipadic_out}/ DESTINATION share/inazuma/mecab/ipadic)
