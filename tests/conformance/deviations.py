"""Where a server does not do what the checklist says: the status of what it answered instead, and why.

A check that deviates otherwise, or meets what is asked after all, fails: these are measurements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deviation:
    """Status of the last answer within the check (0 for none at all), and what the server does instead."""

    status: int
    instead: str


def _all(status: int, instead: str, *names: str) -> dict[str, Deviation]:
    return dict.fromkeys(names, Deviation(status, instead))


ARCHIVE = {
    "without_an_accept_field_406": Deviation(200, "the default form, as RFC 9110 12.5.1 has it: no field accepts all"),
    "implicit_vr_little_endian_is_not_to_be_had": Deviation(
        200, "who names it gets it, as who takes any does: what was received in it can be had byte for byte"
    ),
    "a_frame_of_an_image_of_one_frame_is_400": Deviation(200, "number 1 is the image: clients send it with every one"),
}
"""Of this archive, each with the reason."""

ORTHANC = {
    **_all(415, "Part-10 files in multipart alone", "one_instance_without_multipart", "metadata_as_json_with_bulk_data",
           "metadata_as_xml_with_bulk_data", "missing_bulk_data_fails_alone",
           "pixel_data_in_a_media_type_of_no_transfer_syntax_is_c122"),
    "some_stored_is_202": Deviation(400, "a part that is no DICOM file ends the request"),
    "bad_syntax_is_400": Deviation(200, "a body without its boundary is an empty one"),
    "what_is_of_another_study_fails_alone": Deviation(409, "one instance of another study ends the request"),
    "another_sop_class_than_storage_is_0122": Deviation(200, "every SOP class is stored"),
    # Search: matching.
    **_all(200, "a key within a sequence is passed over: all are found", "series_by_scheduled_step_id",
           "series_by_requested_procedure_id", "a_path_of_keywords", "a_path_of_tags", "a_path_of_tag_and_keyword"),
    "series_by_modalities_in_study": Deviation(200, "matched at the level of studies alone: nothing is found"),
    "a_private_attribute_with_its_creator": Deviation(200, "a private key is passed over: all are found"),
    "a_private_attribute_without_its_creator_is_400": Deviation(200, "a private key is passed over: all are found"),
    "escaped_characters_are_what_they_stand_for": Deviation(200, "escapes in values are not decoded: nothing is found"),
    **_all(200, "escapes in values are not decoded, and other characters cannot stand in a URL: nothing is found",
           "a_name_by_its_ideographic_group", "a_name_by_its_phonetic_group"),
    "several_values_find_each": Deviation(200, "escapes in values are not decoded: nothing is found"),
    **_all(200, "the end of a range of less precision is its beginning", "times_from_and_to", "moments_from_and_to"),
    **_all(200, "it is matched as text: nothing is found", "a_time_of_less_precision_covers_all_within",
           "a_moment_of_less_precision_covers_all_within", "numbers_by_their_value"),
    "a_key_of_a_lower_level_is_400_by_name_or_warned_of": Deviation(200, "nothing is found"),
    **_all(200, "date and time are matched each by itself", "date_and_time_are_combined",
           "date_and_time_of_the_step_are_combined"),
    "a_name_by_component": Deviation(200, "all component groups are matched as one text: nothing is found"),
    "an_empty_value_finds_what_has_none": Deviation(200, "it is matched as text: nothing is found"),
    "fuzzy_matching_is_done_or_warned_of": Deviation(200, "the parameter is passed over without a warning"),
    "an_unknown_attribute_is_400_by_name_or_warned_of": Deviation(200, "it is passed over without a warning"),
    "dates_and_times_in_another_zone_are_adjusted_or_warned_of": Deviation(200, "it is passed over without a warning"),
    "an_attribute_that_stands_twice_is_400": Deviation(200, "one of them counts"),
    **_all(200, "it is matched as text", "a_value_that_is_no_date_is_400", "a_time_that_is_none_is_400"),
    # Search: answers.
    **_all(200, "Instance Availability is not told", "the_availability_of_a_study_is_there",
           "the_availability_of_an_instance_is_there"),
    **_all(200, "attributes of the table are missing, at least Request Attributes Sequence",
           "a_series_has_the_attributes_of_table_10_6_3_4", "all_series_come_with_the_attributes_of_their_studies",
           "all_instances_come_with_the_attributes_of_their_series_and_studies",
           "instances_of_a_study_come_with_the_attributes_of_their_series"),
    **_all(200, "no sequence is returned", "a_list_of_attributes_and_several_lists",
           "a_member_of_a_sequence_that_is_to_be_included"),
    "all_attributes_of_the_level": Deviation(200, "those that its database has"),
    "a_private_attribute_comes_with_its_creator": Deviation(200, "private attributes are not returned"),
    "what_is_of_a_lower_level_is_not_included": Deviation(200, "that of some series or instance is returned"),
    "more_than_asked_for_is_warning_299_with_the_number": Deviation(200, "there is no warning"),
    **_all(200, "an empty array", "nothing_found_is_204", "an_offset_behind_the_last_is_204",
           "a_search_below_a_study_that_is_not_there_finds_nothing"),
    "a_limit_or_offset_that_is_no_number_is_400": Deviation(500, "a negative offset is an internal error"),
    "xml_is_a_part_for_each_result": Deviation(200, "JSON, unless Accept is application/dicom+xml without multipart"),
    "another_media_type_is_406": Deviation(200, "JSON"),
    **_all(200, "the parameter is passed over", "a_character_set_that_is_none_is_400",
           "a_charset_that_is_none_is_400"),
    # Retrieve: instances and metadata.
    **_all(400, "multipart alone", "an_instance_without_multipart", "one_frame_without_multipart",
           "the_bulk_data_of_a_uri_without_multipart"),
    "each_part_has_its_content_location": Deviation(200, "parts have none"),
    "the_transfer_syntax_is_told_by_each_part": Deviation(200, "parts do not tell it"),
    "a_transfer_syntax_that_cannot_be_made_is_406": Deviation(500, "an internal error"),
    "implicit_vr_little_endian_is_not_to_be_had": Deviation(200, "it is made"),
    **_all(400, "400, without a word", "a_media_type_that_cannot_be_made_is_406", "a_406_tells_what_there_is"),
    "without_an_accept_field_406": Deviation(200, "the default form"),
    "the_type_of_the_greater_weight": Deviation(200, "weights are passed over"),
    "a_weight_of_zero_is_a_refusal": Deviation(200, "weights are passed over"),
    "the_accept_parameter_stands_before_the_field": Deviation(400, "the field counts, and two types in it are refused"),
    "metadata_has_every_attribute_in_its_vr": Deviation(200, "compressed pixel data, and OV, SV and UV, are left out"),
    "values_of_every_vr_in_json": Deviation(200, "OV, SV and UV are left out"),
    "a_study_as_zip": Deviation(400, "not by DICOMweb"),
    # Retrieve: frames, bulk data, ranges and conditions.
    "bulk_data_of_study_series_and_instance_by_its_media_type": Deviation(400, "DICOM alone"),
    "a_frame_behind_the_last_is_404": Deviation(400, "400"),
    "frames_of_what_is_no_image_are_404": Deviation(500, "an internal error"),
    "frames_as_stored_for_any_transfer_syntax": Deviation(400, "only by the UID of the transfer syntax"),
    "frames_in_a_media_type_that_cannot_be_made_are_406": Deviation(200, "the image is compressed so"),
    **_all(404, "no such resource", "all_bulk_data_of_study_series_and_instance",
           "all_pixel_data_of_study_series_and_instance"),
    **_all(400, "multipart alone, and no ranges", "a_range_of_bulk_data_is_206",
           "a_range_behind_the_end_is_416_with_the_length", "a_range_of_an_instance_as_stored_is_206"),
    "what_a_client_has_is_304_without_content": Deviation(200, "there are no tags"),
    "head_answers_as_get_without_content": Deviation(404, "there is no HEAD"),
    "an_answer_has_a_length_or_is_chunked": Deviation(200, "multipart ends with the connection"),
    # Rendered.
    **_all(400, "JPEG and PNG alone", "gif_can_be_asked_for", "an_image_of_several_frames_is_an_animation"),
    "the_accept_parameter_decides": Deviation(400, "the field must name JPEG or PNG"),
    "the_most_specific_range_has_the_weight": Deviation(400, "one media type alone"),
    "a_media_type_that_is_no_picture_is_406": Deviation(400, "400"),
    **_all(200, "each frame is stretched from its darkest to its brightest value, whatever its window",
           "each_frame_by_its_number", "the_window_of_the_image_unless_another_is_asked_for",
           "a_viewport_of_a_region"),
    **_all(400, "one picture of one frame, or of the middle of a series, alone", "several_frames_are_parts",
           "a_series_is_a_part_for_each_image", "a_study_is_a_part_for_each_image",
           "each_rendered_part_has_its_content_location"),
    "a_window_of_function_linear_exact": Deviation(200, "as linear"),
    "a_wrong_window_is_400": Deviation(200, "a width of 0 is taken"),
    "a_wrong_viewport_is_400": Deviation(0, "a size that is no number, or negative, closes the connection"),
    **_all(200, "the parameter is passed over", "a_wrong_annotation_is_400", "annotation_is_burned_in",
           "a_wrong_iccprofile_is_400", "a_profile_is_in_the_picture_if_asked_for"),
    "a_viewport_keeps_the_proportions": Deviation(200, "a picture of the viewport's size, with borders"),
    **_all(400, "images alone", "a_report_is_html_and_plain_text", "an_encapsulated_document_is_in_its_own_form"),
    "rendered_of_what_is_not_there_is_404": Deviation(400, "of a frame 400"),
    **_all(404, "there are no thumbnails", "thumbnails_of_study_series_instance_and_frame", "a_thumbnail_of_a_size",
           "a_region_of_a_thumbnail_is_400", "a_thumbnail_tells_nothing_of_the_patient"),
    # URI service.
    **_all(200, "PNG", "a_jpeg_unless_asked_otherwise", "a_jpeg_of_an_image_of_several_frames"),
    **_all(404, "404", "without_its_request_type_400", "another_request_type_is_400", "without_an_instance_400"),
    **_all(200, "the instance alone is enough", "without_a_study_400", "without_a_series_400"),
    "dicom_by_the_accept_field": Deviation(200, "the parameter alone counts"),
    "explicit_vr_little_endian_of_a_compressed_instance": Deviation(200, "as stored"),
    **_all(200, "the parameter is passed over",
           "a_transfer_syntax_that_is_no_uid_is_400", "a_transfer_syntax_of_an_instance_that_cannot_be_made_is_406",
           "a_window", "half_a_window_is_400", "a_window_that_is_no_number_is_400", "a_window_with_dicom_is_400",
           "rows_and_columns_are_the_most_there_may_be", "rows_or_columns_alone_keep_the_proportions",
           "rows_that_are_no_number_are_400", "a_region_in_parts_of_the_image", "a_wrong_region_is_400",
           "a_frame_by_its_number", "a_frame_that_is_not_there_is_400", "a_frame_of_an_image_of_one_frame_is_400",
           "the_quality", "a_wrong_quality_of_an_image_is_400", "an_annotation", "half_a_presentation_state_is_400",
           "a_presentation_state_that_is_not_there_is_400", "anonymize_of_another_value_than_yes_is_400",
           "what_is_not_anonymized_is_no_success"),
    "of_several_content_types_the_one_of_the_greatest_weight": Deviation(400, "one media type alone"),
    "a_content_type_that_cannot_be_made_is_406": Deviation(400, "400"),
    "a_report_is_html": Deviation(500, "an internal error"),
    # Service.
    "there_is_a_worklist": Deviation(404, "there are no work items"),
    "wrong_credentials_are_401_with_a_challenge": Deviation(200, "it runs without authentication here"),
    "an_error_tells_what_is_wrong": Deviation(400, "errors have no content"),
    **_all(404, "there are no capabilities", "capabilities_of_the_service_as_wadl", "capabilities_as_json",
           "capabilities_name_base_resources_and_methods", "capabilities_name_query_parameters_and_media_types",
           "capabilities_in_another_form_are_406", "capabilities_name_the_parameters_of_rendered_resources"),
    "answers_tell_the_location_of_what_they_hold": Deviation(200, "answers do not tell it"),
    **_all(405, "by its own interface alone", "a_deletion_is_200_202_or_204",
           "a_deletion_of_what_is_not_there_is_404"),
}  # fmt: skip
"""Of Orthanc 1.10 with its DICOMweb plugin."""

DEVIATIONS = {"archive": ARCHIVE, "Orthanc": ORTHANC}
