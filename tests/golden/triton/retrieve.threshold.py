"""Generated for triton:sm_90; schedule: tokens=64 chunk_block=64 top_k=threshold stages=1."""

import triton
import triton.language as tl

@triton.jit(do_not_specialize=['R', 'C', 'n_tiles'])
def retrieve(
    p_q, p_landmarks, p_lo, p_hi, p_candidates, p_indices, p_slots, p_weights, R, C, n_tiles,
):
    # grid: (cdiv(R, 64), 1, B)
    i_tile = tl.program_id(0)
    i_head = tl.program_id(1)
    i_batch = tl.program_id(2)
    x = i_tile * 64
    o_row = tl.arange(0, 64)
    x_1 = x + o_row
    x_2 = x_1 < R
    x_3 = i_batch * R
    x_4 = x_3.to(tl.int64)
    x_5 = x_4 + x_1
    x_6 = i_batch * R
    x_7 = x_6.to(tl.int64)
    x_8 = x_7 + x_1
    b_lo = tl.load(p_lo + x_8, mask=x_2, other=0)
    b_hi = tl.load(p_hi + x_8, mask=x_2, other=0)
    o_dim = tl.arange(0, 128)
    x_9 = i_head * 1
    x_10 = x_9 + 0
    x_11 = x_2[:, None]  # [64, 1]
    x_12 = x_5 * 1
    x_13 = x_12 + x_10
    x_14 = x_13 * 128
    x_15 = x_14[:, None]  # [64, 1]
    o_dim_1 = o_dim[None, :]  # [1, 128]
    x_16 = x_15 + o_dim_1  # [64, 128]
    b_q = tl.load(p_q + x_16, mask=x_11, other=0)  # [64, 128]
    x_17 = b_hi > b_lo
    x_18 = tl.where(x_17, b_lo, C)
    first = tl.min(x_18, axis=0)
    last = tl.max(b_hi, axis=0)
    x_19 = last - first
    n_seen = tl.maximum(x_19, 0)
    x_20 = n_seen + 63
    x_21 = x_20 // 64
    x_22 = i_batch * 1
    x_23 = x_22 + i_head
    x_24 = x_23.to(tl.int64)
    x_25 = x_24 * n_tiles
    x_26 = x_25 + i_tile
    x_27 = x_26 * 4096
    o_row_1 = tl.arange(0, 64)
    b_none = tl.full([64, 64], float("-inf"), tl.float32)  # [64, 64]
    b_first = b_none
    b_second = b_none
    for i_block in tl.range(0, x_21, 1, num_stages=1):
        x_28 = x_21 - i_block
        x_29 = x_28 * 64
        x_30 = first + x_29
        x_31 = x_30 - 1
        o_chunk = tl.arange(0, 64)
        x_32 = x_31 - o_chunk
        x_33 = i_head * 1
        x_34 = x_33 + 0
        x_35 = x_32 < C
        x_36 = i_batch * C
        x_37 = x_36.to(tl.int64)
        x_38 = x_37 + x_32
        x_39 = x_38 * 1
        x_40 = x_39 + x_34
        x_41 = x_40 * 128
        b_score = tl.full([64, 64], 0.0, tl.float32)  # [64, 64]
        b_score_1 = b_score
        i_dim = 0
        o_dim_2 = tl.arange(0, 128)
        x_42 = i_dim + o_dim_2
        x_43 = x_35[:, None]  # [64, 1]
        x_44 = x_41[:, None]  # [64, 1]
        x_45 = x_42[None, :]  # [1, 128]
        x_46 = x_44 + x_45  # [64, 128]
        b_lmk = tl.load(p_landmarks + x_46, mask=x_43, other=0)  # [64, 128]
        b_lmk_t = tl.trans(b_lmk)  # [128, 64]
        b_dot = tl.dot(b_q, b_lmk_t, b_score_1)  # [64, 64]
        b_score_1 = b_dot
        x_47 = b_score_1 * 0.1  # [64, 64]
        x_48 = x_32[None, :]  # [1, 64]
        b_lo_1 = b_lo[:, None]  # [64, 1]
        b_hi_1 = b_hi[:, None]  # [64, 1]
        b_lo_2 = b_lo[:, None]  # [64, 1]
        x_49 = x_48 >= b_lo_2  # [64, 64]
        b_hi_2 = b_hi[:, None]  # [64, 1]
        x_50 = x_48 < b_hi_2  # [64, 64]
        x_51 = x_49 & x_50  # [64, 64]
        b_rank = tl.where(x_51, x_47, float("-inf"))  # [64, 64]
        x_52 = tl.maximum(b_first, b_rank)  # [64, 64]
        x_53 = tl.minimum(b_first, b_rank)  # [64, 64]
        x_54 = tl.maximum(b_second, x_53)  # [64, 64]
        b_first = x_52
        b_second = x_54
    b_largest = tl.max(b_first, axis=1)
    x_55 = b_first > float("-inf")  # [64, 64]
    x_56 = x_55.to(tl.int32)  # [64, 64]
    x_56_sum = tl.sum(x_56, axis=1)
    x_57 = tl.where(x_55, b_first, float("inf"))  # [64, 64]
    b_least = tl.min(x_57, axis=1)
    x_58 = b_second > float("-inf")  # [64, 64]
    x_59 = x_58.to(tl.int32)  # [64, 64]
    x_59_sum = tl.sum(x_59, axis=1)
    x_60 = tl.where(x_58, b_second, float("inf"))  # [64, 64]
    b_least_1 = tl.min(x_60, axis=1)
    x_61 = x_56_sum + x_59_sum
    x_62 = tl.minimum(b_least, b_least_1)
    x_63 = x_61 >= 32
    x_64 = tl.where(x_63, x_62, -3.4028234663852886e+38)
    x_65 = x_64.to(tl.int32, bitcast=True)
    x_66 = x_65 >> 31
    x_67 = x_66 & 2147483647
    x_68 = x_65 ^ x_67
    x_69 = b_largest.to(tl.int32, bitcast=True)
    x_70 = x_69 >> 31
    x_71 = x_70 & 2147483647
    x_72 = x_69 ^ x_71
    x_73 = x_72 + 1
    x_74 = x_68 >> 31
    x_75 = x_74 & 2147483647
    x_76 = x_68 ^ x_75
    x_77 = x_76.to(tl.float32, bitcast=True)
    x_78 = x_77[:, None]  # [64, 1]
    x_79 = b_first >= x_78  # [64, 64]
    x_80 = x_79.to(tl.int32)  # [64, 64]
    x_80_sum = tl.sum(x_80, axis=1)
    x_81 = b_second >= x_78  # [64, 64]
    x_82 = x_81.to(tl.int32)  # [64, 64]
    x_82_sum = tl.sum(x_82, axis=1)
    x_83 = x_80_sum + x_82_sum
    x_84 = x_83 > 32
    x_85 = tl.where(x_84, x_73, x_68)
    x_86 = x_68 + 1
    x_87 = x_85 > x_86
    x_88 = x_87.to(tl.int32)
    x_88_max = tl.max(x_88, axis=0)
    x_89 = x_88_max > 0
    i_step = tl.full([], 0, tl.int32)
    b_low = x_68
    b_high = x_85
    i_step_1 = i_step
    more = x_89
    while more:
        x_90 = b_low & b_high
        x_91 = b_low ^ b_high
        x_92 = x_91 >> 1
        x_93 = x_90 + x_92
        x_94 = b_low >> 31
        x_95 = x_94 & 2147483647
        x_96 = b_low ^ x_95
        x_97 = x_96.to(tl.float32, bitcast=True)
        x_98 = x_97 * 0.5
        x_99 = b_high >> 31
        x_100 = x_99 & 2147483647
        x_101 = b_high ^ x_100
        x_102 = x_101.to(tl.float32, bitcast=True)
        x_103 = x_102 * 0.5
        x_104 = x_98 + x_103
        x_105 = x_104.to(tl.int32, bitcast=True)
        x_106 = x_105 >> 31
        x_107 = x_106 & 2147483647
        x_108 = x_105 ^ x_107
        x_109 = tl.maximum(x_108, b_low)
        x_110 = b_high - 1
        x_111 = tl.minimum(x_109, x_110)
        x_112 = i_step_1 & 3
        x_113 = x_112 < 3
        x_114 = tl.where(x_113, x_111, x_93)
        x_115 = x_114 >> 31
        x_116 = x_115 & 2147483647
        x_117 = x_114 ^ x_116
        x_118 = x_117.to(tl.float32, bitcast=True)
        x_119 = x_118[:, None]  # [64, 1]
        x_120 = b_first >= x_119  # [64, 64]
        x_121 = x_120.to(tl.int32)  # [64, 64]
        x_121_sum = tl.sum(x_121, axis=1)
        x_122 = b_second >= x_119  # [64, 64]
        x_123 = x_122.to(tl.int32)  # [64, 64]
        x_123_sum = tl.sum(x_123, axis=1)
        x_124 = x_121_sum + x_123_sum
        x_125 = x_124 >= 32
        x_126 = x_124 <= 36
        x_127 = x_125 & x_126
        x_128 = tl.maximum(x_114, b_low)
        x_129 = tl.where(x_125, x_128, b_low)
        x_130 = x_129 + 1
        x_131 = tl.where(x_127, x_130, b_high)
        x_132 = tl.where(x_125, x_131, x_114)
        x_133 = x_129 + 1
        x_134 = x_132 > x_133
        x_135 = x_134.to(tl.int32)
        x_135_max = tl.max(x_135, axis=0)
        x_136 = x_135_max > 0
        x_137 = i_step_1 + 1
        b_low = x_129
        b_high = x_132
        i_step_1 = x_137
        more = x_136
    x_138 = b_low >> 31
    x_139 = x_138 & 2147483647
    x_140 = b_low ^ x_139
    x_141 = x_140.to(tl.float32, bitcast=True)
    x_142 = x_141[:, None]  # [64, 1]
    o_lane = tl.arange(0, 64)
    o_lane_1 = o_lane[:, None]  # [64, 1]
    o_lane_2 = o_lane[None, :]  # [1, 64]
    x_143 = o_lane_1 < o_lane_2  # [64, 64]
    b_full = tl.full([64, 64], 0.0, tl.float16)  # [64, 64]
    x_144 = tl.where(x_143, 1.0, b_full)  # [64, 64]
    b_ones = tl.full([64, 16], 1.0, tl.float16)  # [64, 16]
    b_count = tl.full([64], 0, tl.int32)
    b_count_1 = b_count
    for i_block_1 in tl.range(0, x_21, 1, num_stages=1):
        x_145 = x_21 - i_block_1
        x_146 = x_145 * 64
        x_147 = first + x_146
        x_148 = x_147 - 1
        o_chunk_1 = tl.arange(0, 64)
        x_149 = x_148 - o_chunk_1
        x_150 = i_head * 1
        x_151 = x_150 + 0
        x_152 = x_149 < C
        x_153 = i_batch * C
        x_154 = x_153.to(tl.int64)
        x_155 = x_154 + x_149
        x_156 = x_155 * 1
        x_157 = x_156 + x_151
        x_158 = x_157 * 128
        b_score_2 = tl.full([64, 64], 0.0, tl.float32)  # [64, 64]
        b_score_3 = b_score_2
        i_dim_1 = 0
        o_dim_3 = tl.arange(0, 128)
        x_159 = i_dim_1 + o_dim_3
        x_160 = x_152[:, None]  # [64, 1]
        x_161 = x_158[:, None]  # [64, 1]
        x_162 = x_159[None, :]  # [1, 128]
        x_163 = x_161 + x_162  # [64, 128]
        b_lmk_1 = tl.load(p_landmarks + x_163, mask=x_160, other=0)  # [64, 128]
        b_lmk_1_t = tl.trans(b_lmk_1)  # [128, 64]
        b_dot_1 = tl.dot(b_q, b_lmk_1_t, b_score_3)  # [64, 64]
        b_score_3 = b_dot_1
        x_164 = b_score_3 * 0.1  # [64, 64]
        x_165 = x_149[None, :]  # [1, 64]
        b_lo_3 = b_lo[:, None]  # [64, 1]
        b_hi_3 = b_hi[:, None]  # [64, 1]
        b_lo_4 = b_lo[:, None]  # [64, 1]
        x_166 = x_165 >= b_lo_4  # [64, 64]
        b_hi_4 = b_hi[:, None]  # [64, 1]
        x_167 = x_165 < b_hi_4  # [64, 64]
        x_168 = x_166 & x_167  # [64, 64]
        b_rank_1 = tl.where(x_168, x_164, float("-inf"))  # [64, 64]
        x_169 = x_149[None, :]  # [1, 64]
        x_170 = b_rank_1 >= x_142  # [64, 64]
        x_171 = tl.minimum(b_count_1, 64)
        x_172 = x_171.to(tl.float32)
        x_173 = x_172 + 8388608.0
        x_174 = x_173[:, None]  # [64, 1]
        x_175 = tl.broadcast_to(x_174, [64, 64])  # [64, 64]
        x_176 = x_170.to(tl.float16)  # [64, 64]
        b_dot_2 = tl.dot(x_176, x_144, x_175)  # [64, 64]
        x_177 = b_dot_2.to(tl.int32, bitcast=True)  # [64, 64]
        x_178 = x_177 - 1258291200  # [64, 64]
        x_179 = x_149.to(tl.int64)
        x_180 = x_179 << 32
        x_181 = x_180[None, :]  # [1, 64]
        x_182 = x_164.to(tl.uint32, bitcast=True)  # [64, 64]
        x_183 = x_182.to(tl.int64)  # [64, 64]
        x_184 = x_181 | x_183  # [64, 64]
        x_185 = x_178 < 64  # [64, 64]
        x_186 = x_170 & x_185  # [64, 64]
        x_187 = x_178 * 64  # [64, 64]
        o_row_2 = o_row_1[:, None]  # [64, 1]
        x_188 = x_187 + o_row_2  # [64, 64]
        o_entry = tl.where(x_186, x_188, -1)  # [64, 64]
        x_189 = x_27 + o_entry  # [64, 64]
        x_190 = o_entry >= 0  # [64, 64]
        tl.store(p_candidates + x_189, x_184, mask=x_190)
        b_dot_3 = tl.dot(x_176, b_ones)  # [64, 16]
        b_dot_3_max = tl.max(b_dot_3, axis=1)
        b_dot_3_max_1 = b_dot_3_max.to(tl.int32)
        x_191 = b_count_1 + b_dot_3_max_1
        b_count_1 = x_191
    n_most = tl.max(b_count_1, axis=0)
    x_192 = n_most > 64
    x_193 = x_192.to(tl.int32)
    b_count_2 = b_count_1
    for i_again in tl.range(0, x_193, 1, num_stages=1):
        b_low_1 = b_low.to(tl.int64)
        x_194 = b_low_1 << 32
        x_195 = b_largest.to(tl.int32, bitcast=True)
        x_196 = x_195 >> 31
        x_197 = x_196 & 2147483647
        x_198 = x_195 ^ x_197
        x_199 = x_198.to(tl.int64)
        x_200 = x_199 << 32
        x_201 = x_200 + C
        x_202 = b_count_2 > 64
        x_203 = x_194 + 1
        x_204 = tl.where(x_202, x_201, x_203)
        x_205 = x_194 + 1
        x_206 = x_204 > x_205
        x_207 = x_206.to(tl.int32)
        x_207_max = tl.max(x_207, axis=0)
        x_208 = x_207_max > 0
        i_step_2 = tl.full([], 0, tl.int32)
        b_low_2 = x_194
        b_high_1 = x_204
        i_step_3 = i_step_2
        more_1 = x_208
        while more_1:
            x_209 = b_low_2 + 1
            x_210 = b_high_1 > x_209
            x_211 = i_step_3 == 0
            x_212 = x_210 & x_211
            x_213 = x_194 + 4294967296
            x_214 = b_low_2 & b_high_1
            x_215 = b_low_2 ^ b_high_1
            x_216 = x_215 >> 1
            x_217 = x_214 + x_216
            x_218 = tl.where(x_212, x_213, x_217)
            b_reached = tl.full([64], 0, tl.int32)
            b_reached_1 = b_reached
            for i_block_2 in tl.range(0, x_21, 1, num_stages=1):
                x_219 = x_21 - i_block_2
                x_220 = x_219 * 64
                x_221 = first + x_220
                x_222 = x_221 - 1
                o_chunk_2 = tl.arange(0, 64)
                x_223 = x_222 - o_chunk_2
                x_224 = i_head * 1
                x_225 = x_224 + 0
                x_226 = x_223 < C
                x_227 = i_batch * C
                x_228 = x_227.to(tl.int64)
                x_229 = x_228 + x_223
                x_230 = x_229 * 1
                x_231 = x_230 + x_225
                x_232 = x_231 * 128
                b_score_4 = tl.full([64, 64], 0.0, tl.float32)  # [64, 64]
                b_score_5 = b_score_4
                i_dim_2 = 0
                o_dim_4 = tl.arange(0, 128)
                x_233 = i_dim_2 + o_dim_4
                x_234 = x_226[:, None]  # [64, 1]
                x_235 = x_232[:, None]  # [64, 1]
                x_236 = x_233[None, :]  # [1, 128]
                x_237 = x_235 + x_236  # [64, 128]
                b_lmk_2 = tl.load(p_landmarks + x_237, mask=x_234, other=0)  # [64, 128]
                b_lmk_2_t = tl.trans(b_lmk_2)  # [128, 64]
                b_dot_4 = tl.dot(b_q, b_lmk_2_t, b_score_5)  # [64, 64]
                b_score_5 = b_dot_4
                x_238 = b_score_5 * 0.1  # [64, 64]
                x_239 = x_223[None, :]  # [1, 64]
                b_lo_5 = b_lo[:, None]  # [64, 1]
                b_hi_5 = b_hi[:, None]  # [64, 1]
                b_lo_6 = b_lo[:, None]  # [64, 1]
                x_240 = x_239 >= b_lo_6  # [64, 64]
                b_hi_6 = b_hi[:, None]  # [64, 1]
                x_241 = x_239 < b_hi_6  # [64, 64]
                x_242 = x_240 & x_241  # [64, 64]
                b_rank_2 = tl.where(x_242, x_238, float("-inf"))  # [64, 64]
                x_243 = x_223[None, :]  # [1, 64]
                x_244 = b_rank_2 == 0.0  # [64, 64]
                x_245 = tl.where(x_244, 0.0, b_rank_2)  # [64, 64]
                x_246 = x_245.to(tl.int32, bitcast=True)  # [64, 64]
                x_247 = x_246 >> 31  # [64, 64]
                x_248 = x_247 & 2147483647  # [64, 64]
                x_249 = x_246 ^ x_248  # [64, 64]
                x_250 = x_249.to(tl.int64)  # [64, 64]
                x_251 = x_250 << 32  # [64, 64]
                x_252 = x_243.to(tl.int64)  # [1, 64]
                x_253 = x_251 | x_252  # [64, 64]
                x_254 = b_rank_2 > float("-inf")  # [64, 64]
                x_255 = tl.where(x_254, x_253, -9223372036854775807)  # [64, 64]
                x_256 = x_218[:, None]  # [64, 1]
                x_257 = x_255 >= x_256  # [64, 64]
                x_258 = x_257.to(tl.int32)  # [64, 64]
                x_258_sum = tl.sum(x_258, axis=1)
                x_259 = b_reached_1 + x_258_sum
                b_reached_1 = x_259
            x_260 = b_reached_1 >= 32
            x_261 = b_reached_1 <= 64
            x_262 = x_260 & x_261
            x_263 = x_194 + C
            x_264 = tl.where(x_212, x_263, x_218)
            x_265 = tl.where(x_260, x_218, b_low_2)
            x_266 = x_218 + 1
            x_267 = tl.where(x_262, x_266, b_high_1)
            x_268 = tl.where(x_260, x_267, x_264)
            x_269 = x_265 + 1
            x_270 = x_268 > x_269
            x_271 = x_270.to(tl.int32)
            x_271_max = tl.max(x_271, axis=0)
            x_272 = x_271_max > 0
            x_273 = i_step_3 + 1
            b_low_2 = x_265
            b_high_1 = x_268
            i_step_3 = x_273
            more_1 = x_272
        b_low_3 = b_low_2[:, None]  # [64, 1]
        tl.debug_barrier()
        o_lane_3 = tl.arange(0, 64)
        o_lane_4 = o_lane_3[:, None]  # [64, 1]
        o_lane_5 = o_lane_3[None, :]  # [1, 64]
        x_274 = o_lane_4 < o_lane_5  # [64, 64]
        b_full_1 = tl.full([64, 64], 0.0, tl.float16)  # [64, 64]
        x_275 = tl.where(x_274, 1.0, b_full_1)  # [64, 64]
        b_ones_1 = tl.full([64, 16], 1.0, tl.float16)  # [64, 16]
        b_count_3 = tl.full([64], 0, tl.int32)
        b_count_4 = b_count_3
        for i_block_3 in tl.range(0, x_21, 1, num_stages=1):
            x_276 = x_21 - i_block_3
            x_277 = x_276 * 64
            x_278 = first + x_277
            x_279 = x_278 - 1
            o_chunk_3 = tl.arange(0, 64)
            x_280 = x_279 - o_chunk_3
            x_281 = i_head * 1
            x_282 = x_281 + 0
            x_283 = x_280 < C
            x_284 = i_batch * C
            x_285 = x_284.to(tl.int64)
            x_286 = x_285 + x_280
            x_287 = x_286 * 1
            x_288 = x_287 + x_282
            x_289 = x_288 * 128
            b_score_6 = tl.full([64, 64], 0.0, tl.float32)  # [64, 64]
            b_score_7 = b_score_6
            i_dim_3 = 0
            o_dim_5 = tl.arange(0, 128)
            x_290 = i_dim_3 + o_dim_5
            x_291 = x_283[:, None]  # [64, 1]
            x_292 = x_289[:, None]  # [64, 1]
            x_293 = x_290[None, :]  # [1, 128]
            x_294 = x_292 + x_293  # [64, 128]
            b_lmk_3 = tl.load(p_landmarks + x_294, mask=x_291, other=0)  # [64, 128]
            b_lmk_3_t = tl.trans(b_lmk_3)  # [128, 64]
            b_dot_5 = tl.dot(b_q, b_lmk_3_t, b_score_7)  # [64, 64]
            b_score_7 = b_dot_5
            x_295 = b_score_7 * 0.1  # [64, 64]
            x_296 = x_280[None, :]  # [1, 64]
            b_lo_7 = b_lo[:, None]  # [64, 1]
            b_hi_7 = b_hi[:, None]  # [64, 1]
            b_lo_8 = b_lo[:, None]  # [64, 1]
            x_297 = x_296 >= b_lo_8  # [64, 64]
            b_hi_8 = b_hi[:, None]  # [64, 1]
            x_298 = x_296 < b_hi_8  # [64, 64]
            x_299 = x_297 & x_298  # [64, 64]
            b_rank_3 = tl.where(x_299, x_295, float("-inf"))  # [64, 64]
            x_300 = x_280[None, :]  # [1, 64]
            x_301 = b_rank_3 == 0.0  # [64, 64]
            x_302 = tl.where(x_301, 0.0, b_rank_3)  # [64, 64]
            x_303 = x_302.to(tl.int32, bitcast=True)  # [64, 64]
            x_304 = x_303 >> 31  # [64, 64]
            x_305 = x_304 & 2147483647  # [64, 64]
            x_306 = x_303 ^ x_305  # [64, 64]
            x_307 = x_306.to(tl.int64)  # [64, 64]
            x_308 = x_307 << 32  # [64, 64]
            x_309 = x_300.to(tl.int64)  # [1, 64]
            x_310 = x_308 | x_309  # [64, 64]
            x_311 = b_rank_3 > float("-inf")  # [64, 64]
            x_312 = tl.where(x_311, x_310, -9223372036854775807)  # [64, 64]
            x_313 = x_312 >= b_low_3  # [64, 64]
            x_314 = tl.minimum(b_count_4, 64)
            x_315 = x_314.to(tl.float32)
            x_316 = x_315 + 8388608.0
            x_317 = x_316[:, None]  # [64, 1]
            x_318 = tl.broadcast_to(x_317, [64, 64])  # [64, 64]
            x_319 = x_313.to(tl.float16)  # [64, 64]
            b_dot_6 = tl.dot(x_319, x_275, x_318)  # [64, 64]
            x_320 = b_dot_6.to(tl.int32, bitcast=True)  # [64, 64]
            x_321 = x_320 - 1258291200  # [64, 64]
            x_322 = x_280.to(tl.int64)
            x_323 = x_322 << 32
            x_324 = x_323[None, :]  # [1, 64]
            x_325 = x_295.to(tl.uint32, bitcast=True)  # [64, 64]
            x_326 = x_325.to(tl.int64)  # [64, 64]
            x_327 = x_324 | x_326  # [64, 64]
            x_328 = x_321 < 64  # [64, 64]
            x_329 = x_313 & x_328  # [64, 64]
            x_330 = x_321 * 64  # [64, 64]
            o_row_3 = o_row_1[:, None]  # [64, 1]
            x_331 = x_330 + o_row_3  # [64, 64]
            o_entry_1 = tl.where(x_329, x_331, -1)  # [64, 64]
            x_332 = x_27 + o_entry_1  # [64, 64]
            x_333 = o_entry_1 >= 0  # [64, 64]
            tl.store(p_candidates + x_332, x_327, mask=x_333)
            b_dot_7 = tl.dot(x_319, b_ones_1)  # [64, 16]
            b_dot_7_max = tl.max(b_dot_7, axis=1)
            b_dot_7_max_1 = b_dot_7_max.to(tl.int32)
            x_334 = b_count_4 + b_dot_7_max_1
            b_count_4 = x_334
        b_count_2 = b_count_4
    tl.debug_barrier()
    o_entry_2 = tl.arange(0, 64)
    o_entry_3 = o_entry_2[:, None]  # [64, 1]
    b_count_5 = b_count_2[None, :]  # [1, 64]
    x_335 = o_entry_3 < b_count_5  # [64, 64]
    x_336 = o_entry_3 * 64  # [64, 1]
    o_row_4 = o_row_1[None, :]  # [1, 64]
    x_337 = x_336 + o_row_4  # [64, 64]
    x_338 = x_27 + x_337  # [64, 64]
    b_entry = tl.load(p_candidates + x_338, mask=x_335, other=0)  # [64, 64]
    x_339 = b_entry >> 32  # [64, 64]
    x_340 = x_339.to(tl.int32)  # [64, 64]
    b_entry_1 = b_entry.to(tl.uint32)  # [64, 64]
    b_value = b_entry_1.to(tl.float32, bitcast=True)  # [64, 64]
    b_lo_9 = b_lo[None, :]  # [1, 64]
    b_hi_9 = b_hi[None, :]  # [1, 64]
    b_rank_4 = tl.where(x_335, b_value, float("-inf"))  # [64, 64]
    x_341 = b_largest.to(tl.int32, bitcast=True)
    x_342 = x_341 >> 31
    x_343 = x_342 & 2147483647
    x_344 = x_341 ^ x_343
    x_345 = x_344 + 1
    x_346 = b_low >> 31
    x_347 = x_346 & 2147483647
    x_348 = b_low ^ x_347
    x_349 = x_348.to(tl.float32, bitcast=True)
    x_350 = x_349[None, :]  # [1, 64]
    x_351 = b_rank_4 >= x_350  # [64, 64]
    x_352 = x_351.to(tl.int32)  # [64, 64]
    x_352_sum = tl.sum(x_352, axis=0)
    x_353 = x_352_sum > 32
    x_354 = tl.where(x_353, x_345, b_low)
    x_355 = b_low + 1
    x_356 = x_354 > x_355
    x_357 = x_356.to(tl.int32)
    x_357_max = tl.max(x_357, axis=0)
    x_358 = x_357_max > 0
    i_step_4 = tl.full([], 0, tl.int32)
    b_low_4 = b_low
    b_high_2 = x_354
    i_step_5 = i_step_4
    more_2 = x_358
    while more_2:
        x_359 = b_low_4 & b_high_2
        x_360 = b_low_4 ^ b_high_2
        x_361 = x_360 >> 1
        x_362 = x_359 + x_361
        x_363 = x_362 >> 31
        x_364 = x_363 & 2147483647
        x_365 = x_362 ^ x_364
        x_366 = x_365.to(tl.float32, bitcast=True)
        x_367 = x_366[None, :]  # [1, 64]
        x_368 = b_rank_4 >= x_367  # [64, 64]
        x_369 = x_368.to(tl.int32)  # [64, 64]
        x_369_sum = tl.sum(x_369, axis=0)
        x_370 = x_369_sum >= 32
        x_371 = x_369_sum <= 32
        x_372 = x_370 & x_371
        x_373 = tl.maximum(x_362, b_low_4)
        x_374 = tl.where(x_370, x_373, b_low_4)
        x_375 = x_374 + 1
        x_376 = tl.where(x_372, x_375, b_high_2)
        x_377 = tl.where(x_370, x_376, x_362)
        x_378 = x_374 + 1
        x_379 = x_377 > x_378
        x_380 = x_379.to(tl.int32)
        x_380_max = tl.max(x_380, axis=0)
        x_381 = x_380_max > 0
        x_382 = i_step_5 + 1
        b_low_4 = x_374
        b_high_2 = x_377
        i_step_5 = x_382
        more_2 = x_381
    x_383 = b_low_4 >> 31
    x_384 = x_383 & 2147483647
    x_385 = b_low_4 ^ x_384
    x_386 = x_385.to(tl.float32, bitcast=True)
    x_387 = x_386[None, :]  # [1, 64]
    x_388 = b_rank_4 > x_387  # [64, 64]
    x_389 = b_rank_4 == x_387  # [64, 64]
    x_390 = x_388.to(tl.int32)  # [64, 64]
    x_390_sum = tl.sum(x_390, axis=0)
    x_391 = 32 - x_390_sum
    x_392 = x_389.to(tl.int32)  # [64, 64]
    x_392_cumsum = tl.cumsum(x_392, axis=0)  # [64, 64]
    x_393 = x_391[None, :]  # [1, 64]
    x_394 = x_392_cumsum <= x_393  # [64, 64]
    x_395 = x_389 & x_394  # [64, 64]
    x_396 = x_388 | x_395  # [64, 64]
    x_397 = x_396.to(tl.int32)  # [64, 64]
    x_397_cumsum = tl.cumsum(x_397, axis=0)  # [64, 64]
    x_398 = x_397_cumsum - 1  # [64, 64]
    x_397_sum = tl.sum(x_397, axis=0)
    x_399 = i_tile * 64
    x_400 = i_batch * R
    x_401 = x_399 + x_400
    x_402 = x_401.to(tl.int64)
    x_403 = x_402 * 1
    x_404 = x_403 + i_head
    x_405 = x_404 * 32
    o_row_5 = tl.arange(0, 64)
    x_406 = o_row_5 * 32
    x_407 = x_406[None, :]  # [1, 64]
    x_408 = x_407 + x_398  # [64, 64]
    x_409 = x_405 + x_408  # [64, 64]
    tl.store(p_indices + x_409, x_340, mask=x_396)
    x_410 = tl.where(x_2, x_397_sum, 32)
    n_least = tl.min(x_410, axis=0)
    x_411 = n_least < 32
    if x_411:
        o_slot = tl.arange(0, 32)
        o_slot_1 = o_slot[:, None]  # [32, 1]
        x_397_sum_1 = x_397_sum[None, :]  # [1, 64]
        x_412 = o_slot_1 >= x_397_sum_1  # [32, 64]
        x_413 = o_slot_1 < 32  # [32, 1]
        x_414 = x_412 & x_413  # [32, 64]
        x_415 = x_2[None, :]  # [1, 64]
        x_416 = x_414 & x_415  # [32, 64]
        b_none_1 = tl.full([32, 64], -1, tl.int32)  # [32, 64]
        x_417 = x_407 + o_slot_1  # [32, 64]
        x_418 = x_405 + x_417  # [32, 64]
        tl.store(p_indices + x_418, b_none_1, mask=x_416)
    x_419 = i_tile * 64
    x_420 = i_batch * R
    x_421 = x_419 + x_420
    x_422 = x_421.to(tl.int64)
    x_423 = x_422 * 1
    x_424 = x_423 + i_head
    x_425 = x_424 * 32
    o_row_6 = tl.arange(0, 64)
    x_426 = o_row_6 * 32
    x_427 = x_426[None, :]  # [1, 64]
    x_428 = x_427 + x_398  # [64, 64]
    x_429 = x_425 + x_428  # [64, 64]
    tl.store(p_slots + x_429, b_value, mask=x_396)
    x_430 = tl.where(x_2, x_397_sum, 32)
    n_least_1 = tl.min(x_430, axis=0)
    x_431 = n_least_1 < 32
    if x_431:
        o_slot_2 = tl.arange(0, 32)
        o_slot_3 = o_slot_2[:, None]  # [32, 1]
        x_397_sum_2 = x_397_sum[None, :]  # [1, 64]
        x_432 = o_slot_3 >= x_397_sum_2  # [32, 64]
        x_433 = o_slot_3 < 32  # [32, 1]
        x_434 = x_432 & x_433  # [32, 64]
        x_435 = x_2[None, :]  # [1, 64]
        x_436 = x_434 & x_435  # [32, 64]
        b_none_2 = tl.full([32, 64], float("-inf"), tl.float32)  # [32, 64]
        x_437 = x_427 + o_slot_3  # [32, 64]
        x_438 = x_425 + x_437  # [32, 64]
        tl.store(p_slots + x_438, b_none_2, mask=x_436)
    i_weight = 0
    x_439 = i_head * 1
    x_440 = x_439 + i_weight
    x_441 = x_5 * 1
    x_442 = x_441 + x_440
    b_x = tl.where(x_396, b_value, float("-inf"))  # [64, 64]
    b_x_max = tl.max(b_x, axis=0)
    b_max = tl.maximum(b_x_max, -1e+30)
    b_max_1 = tl.maximum(b_max, -1e+30)
    b_max_2 = b_max_1[None, :]  # [1, 64]
    x_443 = b_x - b_max_2  # [64, 64]
    x_444 = x_443 * 1.4426950408889634  # [64, 64]
    b_e = tl.exp2(x_444)  # [64, 64]
    b_e_sum = tl.sum(b_e, axis=0)
    x_445 = b_e_sum > 0.0
    x_446 = tl.where(x_445, b_e_sum, 1.0)
    x_447 = x_446[None, :]  # [1, 64]
    x_448 = b_e / x_447  # [64, 64]
    x_449 = i_tile * 64
    x_450 = i_batch * R
    x_451 = x_449 + x_450
    x_452 = x_451.to(tl.int64)
    x_453 = x_452 * 1
    x_454 = x_453 + x_440
    x_455 = x_454 * 32
    o_row_7 = tl.arange(0, 64)
    x_456 = o_row_7 * 32
    x_457 = x_456[None, :]  # [1, 64]
    x_458 = x_457 + x_398  # [64, 64]
    x_459 = x_455 + x_458  # [64, 64]
    tl.store(p_weights + x_459, x_448, mask=x_396)
    x_460 = tl.where(x_2, x_397_sum, 32)
    n_least_2 = tl.min(x_460, axis=0)
    x_461 = n_least_2 < 32
    if x_461:
        o_slot_4 = tl.arange(0, 32)
        o_slot_5 = o_slot_4[:, None]  # [32, 1]
        x_397_sum_3 = x_397_sum[None, :]  # [1, 64]
        x_462 = o_slot_5 >= x_397_sum_3  # [32, 64]
        x_463 = o_slot_5 < 32  # [32, 1]
        x_464 = x_462 & x_463  # [32, 64]
        x_465 = x_2[None, :]  # [1, 64]
        x_466 = x_464 & x_465  # [32, 64]
        b_none_3 = tl.full([32, 64], 0.0, tl.float32)  # [32, 64]
        x_467 = x_457 + o_slot_5  # [32, 64]
        x_468 = x_455 + x_467  # [32, 64]
        tl.store(p_weights + x_468, b_none_3, mask=x_466)
